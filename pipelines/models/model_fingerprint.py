"""The fingerprint of the weights of a whole model, whose components may have files of their own.

Knows the places of weights on this machine; imports no torch.
"""

import hashlib
from collections.abc import Iterator
from functools import cache

from pipelines.catalog.component_files import ComponentFiles
from pipelines.catalog.fingerprint import file_fingerprint, folder_fingerprint
from pipelines.catalog.hub.cache import local_folder
from pipelines.catalog.weights_fingerprint import component_fingerprint, fingerprint
from pipelines.models.component_paths import mmproj_path
from pipelines.models.formats.containers.headers import FormatError


@cache
def model_fingerprint(files: ComponentFiles) -> str | None:
    """The fingerprint of a model's weights; None when some are not here. Computed once in a process."""
    if not files.replaced:
        return fingerprint(files.weights)
    folder = local_folder(files.weights, files.replaced)
    parts = list(_own_fingerprints(files))
    if folder is None or None in (digest for _, digest in parts):
        return None
    rest = folder_fingerprint(folder, without=files.replaced)
    lines = (f"{component} {digest}" for component, digest in parts)
    return hashlib.sha256("\n".join((rest, *lines)).encode()).hexdigest()


def text_encoder_fingerprints(files: ComponentFiles) -> tuple[str | None, ...]:
    """The fingerprints of a text encoder of its own, and of its vision tower where that is a file apart."""
    try:
        tower = mmproj_path(files)
    except FormatError:  # a tower that cannot be read is not loaded either
        return (None,)
    weights = component_fingerprint(files.text_encoder or "")
    return (weights,) if tower is None else (weights, file_fingerprint(tower))


def _own_fingerprints(files: ComponentFiles) -> Iterator[tuple[str, str | None]]:
    for component in files.replaced:
        if component == "text_encoder":
            yield from zip((component, "mmproj"), text_encoder_fingerprints(files), strict=False)
        else:
            yield component, component_fingerprint(files.own(component) or "")
