"""Checks that the local weights of a models file are there, and are of the kind that their row needs.

Looks at names of files and folders only. Names of hub repositories are not checked, because that needs the network.
"""

import difflib
from pathlib import Path

from pipelines.catalog.catalog import EMBEDDED, Catalog, CatalogError, ModelEntry
from pipelines.catalog.hub.cache import local_folder

_PARTS = ("transformer", "vae", "text_encoder", "tokenizer", "scheduler")


def check_weights(catalog: Catalog, models_file: Path) -> None:
    """Raise `CatalogError` for a row whose local weights are missing, or are something else."""
    folder = models_file.parent
    problems = {f"models: {row.air}": _model_problem(row, folder) for row in catalog.entries}
    problems |= {f"loras: {row.air}": _lora_problem(row.weights, folder) for row in catalog.loras}
    problems |= {f"controlnets: {row.air}": _controlnet_problem(row.weights, folder) for row in catalog.controlnets}
    for row, problem in problems.items():
        if problem is not None:
            raise CatalogError(f"{models_file}: {row}: weights: {problem}")


def _model_problem(entry: ModelEntry, folder: Path) -> str | None:
    if entry.weights == EMBEDDED:
        return None
    path = folder / Path(entry.weights).expanduser()
    if not path.is_dir():
        return _folder_problem(entry.weights, path, folder)
    parts = _PARTS if entry.mode == "text_to_image" else (*_PARTS, "processor")
    lacking = ", ".join(f"{part}/" for part in parts if not (path / part).is_dir())
    inside = sorted((*path.glob("*/transformer"), *path.glob("snapshots/*/transformer")))  # a hub cache's own layout
    nearest = f"; '{inside[0].parent}' looks like one" if inside else ""
    return f"'{path}' is no folder in the diffusers layout: it has no {lacking}{nearest}" if lacking else None


def _controlnet_problem(weights: str, folder: Path) -> str | None:
    path = folder / Path(weights).expanduser()
    if not path.is_dir():
        return _folder_problem(weights, path, folder)
    return None if (path / "config.json").is_file() else f"'{path}' is no ControlNet: it has no config.json"


def _lora_problem(weights: str, folder: Path) -> str | None:
    path = folder / Path(weights).expanduser()
    if path.is_dir():
        return f"'{path}' is a folder, and a LoRA is a safetensors file"
    if path.is_file() or (len(Path(weights).parts) > 2 and not _looks_local(weights, folder)):
        return None  # owner/repository/file on the hub
    return f"there is no file '{path}'{_nearest(path)}"


def _folder_problem(weights: str, path: Path, folder: Path) -> str | None:
    """Why something that is no folder here cannot be used; None for a hub name."""
    if path.is_file():
        return f"'{path}' is a single file; only folders in the diffusers layout and hub repositories can be loaded"
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
