"""The places of weights on this machine: local folders and files, and the hub's cache.

Knows names and paths; imports no torch.
"""

from pathlib import Path

from pipelines.catalog.catalog import EMBEDDED, EMBEDDED_FOLDER


def hub_cache() -> Path:
    """The folder that the hub's client downloads to."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return Path(HF_HUB_CACHE)


def local_folder(weights: str) -> Path | None:
    """The local folder of some weights: a folder itself, the embedded one, or the hub cache's copy, else None."""
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
    """An absolute path as it is; for owner/repository/file on the hub, the cache's copy.

    With `download`, a missing copy is fetched. Raises `OSError` without a copy, and `ValueError` when the path is no
    hub name.
    """
    if path.is_absolute():
        return path
    owner, repository, *names = (*path.parts, "", "")
    name = "/".join(part for part in names if part)
    if not name:
        raise ValueError(f"'{path}' is neither a file nor a file of a hub repository")
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(f"{owner}/{repository}", name, local_files_only=not download))
