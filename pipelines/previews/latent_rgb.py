"""The linear maps from normalized latents to RGB, one for each VAE that is served. Imports no torch."""

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from pipelines.catalog.catalog import ModelEntry

_TABLE = Path(__file__).with_name("latent_rgb.toml")


@dataclass(frozen=True, slots=True)
class LatentRgb:
    """RGB in −1…1 is `latents · factors + bias`: three factors for each latent channel."""

    factors: tuple[tuple[float, float, float], ...]
    bias: tuple[float, float, float]


def latent_rgb(entry: ModelEntry) -> LatentRgb:
    """The map of a model's VAE."""
    return _maps()["embedded" if entry.embedded else "qwen-image"]


@cache
def _maps() -> dict[str, LatentRgb]:
    tables = tomllib.loads(_TABLE.read_text())
    return {
        name: LatentRgb(tuple(tuple(row) for row in table["factors"]), tuple(table["bias"]))
        for name, table in tables.items()
    }
