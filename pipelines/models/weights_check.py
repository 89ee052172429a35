"""Checks that the local weights of a models file are there, and are of the kind that their row needs.

Reads names of files and folders, and the headers of weights files. Names of hub repositories are not checked,
because that needs the network. Imports no torch.
"""

import difflib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from pipelines.catalog.catalog import EMBEDDED, Catalog, ModelEntry
from pipelines.catalog.component_files import SINGLE_FILE, Component
from pipelines.catalog.hub.cache import local_folder
from pipelines.catalog.models_file import CatalogError, is_path
from pipelines.models.formats.components.controlnet import check_controlnet
from pipelines.models.formats.components.text_encoder import NO_VISION, open_text_encoder
from pipelines.models.formats.components.transformer import open_transformer
from pipelines.models.formats.components.vae import open_vae
from pipelines.models.formats.containers.headers import FormatError

_PARTS = ("transformer", "vae", "text_encoder", "tokenizer", "scheduler")
_SUFFIX = ".safetensors"


def check_weights(catalog: Catalog, models_file: Path) -> None:
    """Raise `CatalogError` for a row whose local weights are missing, or are something else."""
    for place, problem in _problems(catalog, models_file.parent):
        if problem is not None:
            raise CatalogError(f"{models_file}: {place}: {problem}")


def _problems(catalog: Catalog, folder: Path) -> Iterator[tuple[str, str | None]]:
    for row in catalog.entries:
        yield f"models: {row.air}: weights", _model_problem(row, folder)
        for component in row.files.replaced:
            yield f"models: {row.air}: {component}", _component_problem(row, component, folder)
        yield f"models: {row.air}: text_encoder_mmproj", _missing_problem(row.text_encoder_mmproj, folder)
        for lora in row.loras:
            yield f"models: {row.air}: loras", _lora_problem(lora.weights, folder)
    for row in catalog.loras:
        yield f"loras: {row.air}: weights", _lora_problem(row.weights, folder)
    for row in catalog.controlnets:
        yield f"controlnets: {row.air}: weights", _controlnet_problem(row.weights, folder)


def _model_problem(entry: ModelEntry, folder: Path) -> str | None:
    if entry.weights == EMBEDDED:
        return None
    path = folder / Path(entry.weights).expanduser()
    if not path.is_dir():
        return _folder_problem(entry.weights, path, folder)
    parts = _PARTS if entry.mode == "text_to_image" else (*_PARTS, "processor")
    needed = [part for part in parts if part not in entry.files.replaced]
    lacking = ", ".join(f"{part}/" for part in needed if not (path / part).is_dir())
    if lacking:
        inside = sorted(
            (*path.glob("*/transformer"), *path.glob("snapshots/*/transformer"))
        )  # a hub cache's own layout
        nearest = f"; '{inside[0].parent}' looks like one" if inside else ""
        return f"'{path}' is no folder in the diffusers layout: it has no {lacking}{nearest}"
    own = ((each, opens) for each, opens in _opens(entry, folder).items() if each not in entry.files.replaced)
    problems = (_problem_of(path / each, opens) for each, opens in own)
    return next((problem for problem in problems if problem is not None), None)


def _component_problem(entry: ModelEntry, component: Component, folder: Path) -> str | None:
    name = entry.files.own(component) or ""
    path = folder / Path(name).expanduser()
    if path.is_dir() and (path / component).is_dir():
        path /= component
    if not path.exists():
        return _missing_problem(name, folder)
    return _problem_of(path, _opens(entry, folder)[component])


def _opens(entry: ModelEntry, folder: Path) -> dict[Component, Callable[[Path], object]]:
    """What recognizes each component, and raises `FormatError` for something else."""
    return {
        "transformer": open_transformer,
        "text_encoder": partial(_check_text_encoder, entry=entry, folder=folder),
        "vae": open_vae,
    }


def _missing_problem(name: str | None, folder: Path) -> str | None:
    """Why a file or folder that is written as a path cannot be used; None for what is here, and for a hub name."""
    if name is None or (path := folder / Path(name).expanduser()).exists():
        return None
    if is_path(name) or _looks_local(name, folder):
        return f"there is no file or folder '{path}'{_nearest(path)}"
    return None


def _problem_of(path: Path, open_component: Callable[[Path], object]) -> str | None:
    try:
        open_component(path)
    except (FormatError, OSError) as error:
        return f"'{path}' cannot be loaded: {error}"
    return None


def _check_text_encoder(path: Path, entry: ModelEntry, folder: Path) -> None:
    """A vision tower that comes from the hub, or that is missing, is checked elsewhere."""
    named = entry.text_encoder_mmproj
    mmproj = None if named is None else folder / Path(named).expanduser()
    is_here = mmproj is not None and mmproj.exists()
    found = open_text_encoder(path, mmproj=mmproj if is_here else None)
    if entry.mode != "text_to_image" and not found.sees and named is None:
        raise FormatError(NO_VISION)


def _controlnet_problem(weights: str, folder: Path) -> str | None:
    path = folder / Path(weights).expanduser()
    if path.suffix == _SUFFIX and path.is_file():
        return _problem_of(path, check_controlnet)
    if path.suffix == _SUFFIX:
        return None if _is_hub_file(weights, folder) else f"there is no file '{path}'{_nearest(path)}"
    if path.is_file():
        return f"'{path}' is no {_SUFFIX} file"
    if not path.is_dir():
        return _folder_problem(weights, path, folder)
    has_weights = any((path / name).is_file() for name in ("config.json", "model.safetensors"))
    return None if has_weights else f"'{path}' is no ControlNet: it has no config.json and no model.safetensors"


def _lora_problem(weights: str, folder: Path) -> str | None:
    path = folder / Path(weights).expanduser()
    if path.is_dir():
        return f"'{path}' is a folder, and a LoRA is a safetensors file"
    if path.is_file() or _is_hub_file(weights, folder):
        return None
    return f"there is no file '{path}'{_nearest(path)}"


def _is_hub_file(weights: str, folder: Path) -> bool:
    """Whether weights that are not here are owner/repository/file on the hub."""
    return len(Path(weights).parts) > 2 and not _looks_local(weights, folder)


def _folder_problem(weights: str, path: Path, folder: Path) -> str | None:
    """Why something that is no folder here cannot be used; None for a hub name."""
    if path.is_file():
        return f"'{path}' {SINGLE_FILE}"
    is_hub_name = len(Path(weights).parts) == 2 and not _looks_local(weights, folder)
    if is_hub_name or local_folder(weights) is not None:
        return None
    return f"there is no folder '{path}'{_nearest(path)}"


def _looks_local(weights: str, folder: Path) -> bool:
    """Whether weights that are not here are a path and no name of the hub: their first folder is here."""
    path = Path(weights)
    return path.is_absolute() or weights[:1] in (".", "~") or (folder / path.parts[0]).is_dir()


def _nearest(path: Path) -> str:
    there = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, there, n=1)
    return f"; the nearest is '{path.parent / near[0]}'" if near else ""
