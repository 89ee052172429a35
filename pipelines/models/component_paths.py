"""Where the components of a model lie on this machine. Asks no hub, and imports no torch."""

from pathlib import Path

from pipelines.catalog.component_files import Component, ComponentFiles
from pipelines.catalog.hub.cache import local_folder, local_path
from pipelines.models.formats.components.text_encoder import find_mmproj
from pipelines.models.formats.containers.headers import FormatError


def component_path(files: ComponentFiles, component: Component) -> Path | None:
    """The file or folder of a component; None when it is not wholly here.

    A folder that the row names for a component may hold a whole model, of which this is a part.
    """
    own = files.own(component)
    path = local_folder(files.weights, files.replaced) if own is None else local_path(own)
    if path is None:
        return None
    return path / component if own is None or (path / component).is_dir() else path


def mmproj_path(files: ComponentFiles) -> Path | None:
    """The vision tower of a text encoder in GGUF: the file that the row names, else the one beside it.

    None for other text encoders, and where there is none. Raises `FormatError`.
    """
    if (named := files.text_encoder_mmproj) is not None:
        if (path := local_path(named)) is None:
            raise FormatError(f"there is no file '{named}'")
        return path
    path = None if files.text_encoder is None else component_path(files, "text_encoder")
    if path is None or path.suffix.lower() != ".gguf":
        return None
    tower = find_mmproj(path)
    return None if tower is None else tower.path
