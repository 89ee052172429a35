"""Fingerprints of weights by their names in the models file.

Knows the places of weights on this machine; imports no torch.
"""

from functools import cache

from pipelines.catalog.fingerprint import file_fingerprint, folder_fingerprint
from pipelines.catalog.hub.cache import local_path


@cache
def fingerprint(weights: str) -> str | None:
    """The fingerprint of a folder or file of weights, or of the local copy of the hub's; None when there is none.

    Computed once in a process.
    """
    return component_fingerprint(weights)


def component_fingerprint(name: str) -> str | None:
    """The fingerprint of the file or folder of one component; None when it is not on this machine."""
    if (path := local_path(name)) is None:
        return None
    return folder_fingerprint(path) if path.is_dir() else file_fingerprint(path)
