"""The alphas in the metadata of a LoRA file, by which its deltas are scaled.

Reads PEFT's configuration, which diffusers writes into the file. Imports no torch: the API process checks an upload
with it.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.errors import LoraError


@dataclass(frozen=True, slots=True)
class Alphas:
    """The alpha of the file's metadata. A tensor named alpha overrides it."""

    default: float | None
    by_module: Mapping[str, float]
    rank_stabilized: bool

    def scale(self, module: str, rank: int, own: float | None) -> float:
        """Return alpha / rank of one module, or 1 without an alpha. `own` is that of its tensor."""
        if own is not None:
            return own / rank
        of_module = (value for name, value in self.by_module.items() if module == name or module.endswith(f".{name}"))
        alpha = next(of_module, self.default)
        if alpha is None:
            return 1.0
        return alpha / (math.sqrt(rank) if self.rank_stabilized else rank)  # rsLoRA, arXiv:2312.03732


def read_alphas(metadata: Mapping[str, str]) -> Alphas:
    """Read the alphas of a file's metadata. Raises `LoraError`."""
    try:
        document: dict[str, Any] = json.loads(metadata.get("lora_adapter_metadata", "{}"))
        config = {key.removeprefix("transformer."): value for key, value in document.items()}
        default, by_module = config.get("lora_alpha"), config.get("alpha_pattern") or {}
        return Alphas(
            None if default is None else _finite(default),
            {name.removeprefix("^"): _finite(value) for name, value in by_module.items()},
            bool(config.get("use_rslora", False)),
        )
    except (ValueError, TypeError, AttributeError, OverflowError) as error:
        raise LoraError(f"its metadata cannot be read ({error})") from error
    except RecursionError as error:
        raise LoraError("its metadata cannot be read (it is nested too deeply)") from error


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"an alpha is {number}")
    return number
