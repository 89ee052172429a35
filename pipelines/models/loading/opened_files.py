"""Opens the files of a model's components: their names, places and configurations. Imports no torch, reads no weights.

The header of a large GGUF file takes half a second to read, so each is read once for a model.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, cast

from safetensors import SafetensorError

from pipelines.catalog.component_files import SINGLE_FILE, Component, ComponentFiles
from pipelines.catalog.hub.cache import is_repository
from pipelines.catalog.hub.download import fetch_file, fetch_folder
from pipelines.catalog.hub.errors import HubError
from pipelines.catalog.models_file import is_path
from pipelines.errors import LoadError, first_line
from pipelines.models.formats.components.text_encoder import TextEncoderFile, open_text_encoder
from pipelines.models.formats.components.transformer import TransformerFile, open_transformer
from pipelines.models.formats.components.vae import VaeFile, open_vae
from pipelines.models.formats.containers.weight_files import read_json


@dataclass(frozen=True, slots=True)
class OpenedFiles:
    """The files of each component of a model."""

    transformer: TransformerFile
    text_encoder: TextEncoderFile
    vae: VaeFile

    @property
    def formats(self) -> Mapping[str, str]:
        """The format of each component."""
        return MappingProxyType(
            {
                "transformer": self.transformer.format,
                "text_encoder": self.text_encoder.format,
                "vae": self.vae.format,
            }
        )


def open_files(files: ComponentFiles) -> OpenedFiles:
    """Open the files of each component. Raises `LoadError` before any weights are read."""
    return OpenedFiles(find_transformer(files), find_text_encoder(files), find_vae(files))


def find_transformer(files: ComponentFiles) -> TransformerFile:
    """Open the files of a transformer. Raises `LoadError`."""
    with naming_part(files.transformer or files.weights, "transformer") as part:
        return open_transformer(*_path_and_config(files, part))


def find_text_encoder(files: ComponentFiles) -> TextEncoderFile:
    """Open the files of a text encoder. Raises `LoadError`."""
    named = files.text_encoder_mmproj
    with naming_part(files.text_encoder or files.weights, "text_encoder") as part:
        mmproj = None if named is None else _component_path(named, part)
        return open_text_encoder(*_path_and_config(files, part), mmproj)


def find_vae(files: ComponentFiles) -> VaeFile:
    """Open the files of a VAE. Raises `LoadError`."""
    with naming_part(files.vae or files.weights, "vae") as part:
        return open_vae(*_path_and_config(files, part))


def model_folder(files: ComponentFiles) -> Path:
    """The folder of a model's weights, downloaded if they are a hub repository. Raises `LoadError`."""
    weights = files.weights
    path = Path(weights).expanduser()
    if path.is_file():
        raise LoadError(f"Weights '{weights}': this {SINGLE_FILE}.")
    if path.is_dir():
        return path
    if path.is_absolute():
        raise LoadError(f"Weights '{weights}': there is no such folder.")
    try:
        return fetch_folder(weights, files.replaced)
    except HubError as error:
        raise LoadError(f"Weights '{weights}': {error}.") from error


@contextmanager
def naming_part(weights: str, name: str) -> Iterator[str]:
    """Whatever is raised about one part of a model becomes a `LoadError` that names it."""
    try:
        yield name
    except LoadError:
        raise
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, MemoryError, SafetensorError) as error:
        raise LoadError(f"Weights '{weights}': {name} cannot be loaded: {first_line(error)}") from error


def _path_and_config(files: ComponentFiles, part: str) -> tuple[Path, dict[str, Any] | None]:
    """The file or folder of one component, and the configuration that `weights` has for it, if any."""
    base, own = model_folder(files) / part, files.own(cast("Component", part))
    config = base / "config.json"
    return base if own is None else _component_path(own, part), read_json(config) if config.is_file() else None


def _component_path(name: str, part: str) -> Path:
    """The file or folder of one component. A folder may hold a whole model, of which this is a part."""
    path = Path(name).expanduser()
    if not path.exists() and not is_path(name):
        path = fetch_folder(name) if is_repository(name) else fetch_file(path)
    return path / part if (path / part).is_dir() else path
