"""Opens every file of a row, and says in a line what would be loaded. Reads headers only, and imports no torch."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.filesize import decimal

from pipelines.catalog.catalog import Adapter, Catalog, ModelEntry
from pipelines.catalog.component_files import COMPONENTS, SINGLE_FILE, Component
from pipelines.catalog.hub.cache import local_folder
from pipelines.catalog.hub.snapshots import PARTS
from pipelines.catalog.sources import Row, Source, missing_sources
from pipelines.errors import LoraError
from pipelines.lora.keys import check_file
from pipelines.models.component_paths import component_path, mmproj_path
from pipelines.models.formats.components.controlnet import controlnet_kind
from pipelines.models.formats.components.text_encoder import NO_VISION, open_text_encoder
from pipelines.models.formats.components.transformer import open_transformer
from pipelines.models.formats.components.vae import open_vae
from pipelines.models.formats.containers.headers import FormatError, TensorEntry
from pipelines.models.formats.containers.weight_files import open_weights, read_json
from pipelines.models.formats.format_name import main_kind


@dataclass(frozen=True, slots=True)
class Finding:
    """What the check of a row has found. `state` is "right", "wrong", or "not here"."""

    air: str
    state: str
    text: str


def check_row(row: Row, catalog: Catalog) -> Finding:
    """Open the files of a row. A row whose weights are not all here is told so, and nothing is opened."""
    if missing := missing_sources(row):
        if local := [source.name for source in missing if source.repository is None]:
            return Finding(row.air, "wrong", f"there is no file or folder '{local[0]}'")
        names = ", ".join(source.name for source in missing)
        return Finding(row.air, "not here", f"{names} is not wholly here; `ownware models pull {row.air}` downloads it")
    try:
        text = "; ".join(_model(row) if isinstance(row, ModelEntry) else _adapter(row, row in catalog.loras))
    except (FormatError, LoraError) as error:
        return Finding(row.air, "wrong", str(error))
    except OSError as error:
        return Finding(row.air, "wrong", f"cannot be read: {error}")
    return Finding(row.air, "right", text)


def _model(entry: ModelEntry) -> Iterator[str]:
    files = entry.files
    base = local_folder(files.weights, files.replaced)
    if base is None:
        raise FormatError(f"'{files.weights}' {SINGLE_FILE}")
    for component in COMPONENTS:
        if (path := component_path(files, component)) is None:
            raise FormatError(f"there is no '{files.own(component)}'")
        yield _component(component, path, base / component / "config.json", entry)
    needed = [
        part for part in PARTS if part not in COMPONENTS and (part != "processor" or entry.mode != "text_to_image")
    ]
    for part in needed:
        if not any((base / part).glob("*.json")):
            raise FormatError(f"'{base}' has no {part}")
    for lora in entry.loras:
        yield f"LoRA {Path(lora.weights).name} {_lora(_path(lora.weights))}"
    yield f"from {base}"


def _component(component: Component, path: Path, base_config: Path, entry: ModelEntry) -> str:
    config = read_json(base_config) if base_config.is_file() else None
    if component == "vae":
        open_vae(path, config)
        return f"vae {_describe(open_weights(path).tensors.values())}"
    if component == "text_encoder":
        encoder = open_text_encoder(path, config, mmproj_path(entry.files))
        if entry.mode != "text_to_image" and not encoder.sees:
            raise FormatError(NO_VISION)
        return f"text encoder {encoder.format} {decimal(sum(weight.size for weight in encoder.weights.values()))}"
    found = open_transformer(path, config)
    size = decimal(sum(entry.tensor.size for entry in found.weights.values()))
    marks = ", zero_cond_t" if found.config.get("zero_cond_t") else ""
    return f"transformer {found.format} {size}, {found.config.get('num_layers')} blocks{marks}"


def _adapter(row: Adapter, is_lora: bool) -> Iterator[str]:
    path = _path(row.weights)
    yield f"LoRA {_lora(path)}" if is_lora else f"ControlNet {_controlnet(path)}"
    yield f"from {path}"


def _lora(path: Path) -> str:
    modules = check_file(path).modules
    return f"{_describe(open_weights(path).tensors.values())}, {len(modules)} layers"


def _controlnet(path: Path) -> str:
    tensors = open_weights(path).tensors
    return f"{_describe(tensors.values())}, {controlnet_kind(tensors)}, {len(tensors)} tensors"


def _describe(tensors: Collection[TensorEntry]) -> str:
    """The type of most bytes, and the number of all bytes."""
    return f"{main_kind(tensors)} {decimal(sum(tensor.size for tensor in tensors))}"


def _path(name: str) -> Path:
    """The place of weights that are here."""
    if (path := Source(name).local()) is None:
        raise FormatError(f"there is no '{name}'")
    return path
