"""Keeps the text encoder and the VAE for the next model, if that one has the same.

The models of a family share both. Files of equal names and contents are the same, wherever they lie.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from torch import nn

from pipelines.catalog.component_files import Component, ComponentFiles
from pipelines.catalog.fingerprint import file_fingerprint
from pipelines.catalog.hub.cache import local_folder
from pipelines.models.component_paths import component_path, mmproj_path
from pipelines.models.devices import free_memory
from pipelines.models.encoder.waiting_encoder import LoadedEncoder
from pipelines.models.formats.containers.headers import FormatError
from pipelines.models.formats.containers.weight_files import read_json, shards_of
from pipelines.models.plan import WeightsPlan

N = TypeVar("N")

SHARED: tuple[Component, ...] = ("text_encoder", "vae")
# Keys of a configuration that say who wrote it, and how it was stored.
_NO_EFFECT = ("_diffusers_version", "transformers_version", "_name_or_path", "dtype", "torch_dtype")


class KeptComponents:
    """The components that were loaded last, by what identifies them."""

    def __init__(self) -> None:
        self._kept: dict[Component, tuple[str, object]] = {}

    def drop_others(self, wanted: Mapping[Component, str | None]) -> None:
        """Drop the components that the next model has not, before it is loaded."""
        staying: dict[Component, tuple[str, object]] = {}
        for component, (identity, kept) in self._kept.items():
            if wanted.get(component) == identity:
                staying[component] = (identity, kept)
        if len(staying) < len(self._kept):
            self._kept = staying
            free_memory()

    @property
    def networks(self) -> tuple[nn.Module, ...]:
        """The networks of the kept components."""
        found = (kept.network if isinstance(kept, LoadedEncoder) else kept for _, kept in self._kept.values())
        return tuple(network for network in found if isinstance(network, nn.Module))

    def get(self, component: Component, identity: str | None, load: Callable[[], N]) -> N:
        """The component with an identity, loaded if it is not here. None identifies nothing, and is not kept."""
        if component in self._kept and self._kept[component][0] == identity:
            return cast("N", self._kept[component][1])
        loaded = load()
        if identity is not None:
            self._kept[component] = (identity, loaded)
        return loaded


def shared_identities(files: ComponentFiles, dtype: str, plan: WeightsPlan) -> dict[Component, str | None]:
    """What identifies the components of a model that others may have too, as a plan places them."""
    found: dict[Component, str | None] = {}
    for component in SHARED:
        digest = component_identity(files, component)
        found[component] = None if digest is None else f"{digest} {dtype} {getattr(plan, component)}"
    return found


def component_identity(files: ComponentFiles, component: Component) -> str | None:
    """A hash of the weights and the configuration of a component. None when they are not wholly on this machine."""
    base, path = local_folder(files.weights, files.replaced), component_path(files, component)
    if base is None or path is None:
        return None
    try:
        config = _config(path / "config.json") if path.is_dir() else _config(base / component / "config.json")
        tower = mmproj_path(files) if component == "text_encoder" else None
        weights = (*(shards_of(path) if path.is_dir() else (path,)), *(() if tower is None else (tower,)))
        digests = [file_fingerprint(each) for each in weights]
    except (FormatError, OSError):
        return None
    return hashlib.sha256(json.dumps([digests, config], sort_keys=True).encode()).hexdigest()


def _config(path: Path) -> dict[str, Any]:
    config = read_json(path) if path.is_file() else {}
    return {key: value for key, value in config.items() if key not in _NO_EFFECT}
