"""Fingerprints of the weights of a whole model and of one component, by the names in the models file.

Knows the places of weights on this machine; imports no torch.
"""

import hashlib
from functools import cache
from pathlib import Path

from pipelines.catalog.component_files import ComponentFiles
from pipelines.catalog.fingerprint import file_fingerprint, folder_fingerprint
from pipelines.catalog.hub.cache import local_file, local_folder


@cache
def fingerprint(weights: str) -> str | None:
    """The fingerprint of a folder or file of weights, or of the local copy of the hub's; None when there is none.

    Computed once in a process.
    """
    return component_fingerprint(weights)


@cache
def model_fingerprint(files: ComponentFiles) -> str | None:
    """The fingerprint of a model's weights, of which some may have files of their own. None when some are not here."""
    if not files.replaced:
        return fingerprint(files.weights)
    folder = local_folder(files.weights, files.replaced)
    own = [component_fingerprint(files.own(component) or "") for component in files.replaced]
    if folder is None or None in own:
        return None
    rest = folder_fingerprint(folder, without=files.replaced)
    parts = (f"{component} {digest}" for component, digest in zip(files.replaced, own, strict=True))
    return hashlib.sha256("\n".join((rest, *parts)).encode()).hexdigest()


def component_fingerprint(name: str) -> str | None:
    """The fingerprint of the file or folder of one component; None when it is not on this machine."""
    if (folder := local_folder(name)) is not None:
        return folder_fingerprint(folder)
    try:
        return file_fingerprint(local_file(Path(name)))
    except (OSError, ValueError):
        return None
