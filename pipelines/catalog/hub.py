"""Where weights lie on this machine: folders and files as they are, hub names as the hub's cache has them.

Knows names and paths; imports no torch.
"""

from pathlib import Path

from pipelines.catalog.catalog import EMBEDDED, EMBEDDED_FOLDER


def local_folder(weights: str) -> Path | None:
    """A folder of weights, the embedded one's, or the local copy of a hub repository; None when there is none."""
    if weights == EMBEDDED:
        return EMBEDDED_FOLDER
    if Path(weights).is_dir():
        return Path(weights)
    from huggingface_hub import snapshot_download  # slow to import, and only hub names need it
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(weights, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def local_file(path: Path, *, download: bool = False) -> Path:
    """A file itself; of a relative path, the hub's owner/repository/file, its local copy, downloaded if asked to.

    Raises `OSError`, or `ValueError` when the path is no hub name.
    """
    if path.is_absolute():
        return path
    owner, repository, *names = (*path.parts, "", "")
    name = "/".join(part for part in names if part)
    if not name:
        raise ValueError(f"'{path}' is neither a file nor a file of a hub repository")
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(f"{owner}/{repository}", name, local_files_only=not download))
