"""The places of weights on this machine: local folders and files, and the hub's cache.

Knows names and paths, and asks no hub. Imports no torch.
"""

import re
from collections.abc import Collection
from pathlib import Path

from pipelines.catalog.catalog import EMBEDDED, EMBEDDED_FOLDER
from pipelines.catalog.hub.snapshots import missing_files

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w][\w.-]*")
MAIN = "main"  # the branch that rows mean


def hub_cache() -> Path:
    """The folder that the hub's client downloads to."""
    from huggingface_hub import constants  # slow to import, and only hub names need it

    return Path(constants.HF_HUB_CACHE)


def is_repository(weights: str) -> bool:
    """Whether weights have the form of a hub repository's name, owner/name."""
    return _REPOSITORY.fullmatch(weights) is not None


def split_file(weights: str) -> tuple[str, str] | None:
    """The repository and the file of owner/repository/file; None for anything else."""
    owner, _, rest = weights.partition("/")
    name, _, file = rest.partition("/")
    return (f"{owner}/{name}", file) if file and is_repository(f"{owner}/{name}") else None


def repository_folder(repository: str) -> Path:
    """The folder of a repository in the hub's cache, whether or not it exists."""
    return hub_cache() / f"models--{repository.replace('/', '--')}"


def snapshot_folder(repository: str) -> Path | None:
    """The newest downloaded state of a repository, whole or not; None when nothing is here."""
    folder = repository_folder(repository)
    try:
        commit = (folder / "refs" / MAIN).read_text(encoding="utf-8").strip()
    except OSError:
        return None
    snapshot = folder / "snapshots" / commit
    return snapshot if commit and snapshot.is_dir() else None


def local_folder(weights: str, without: Collection[str] = ()) -> Path | None:
    """The local folder of some weights: a folder itself, the embedded one, or the hub cache's copy if it is whole.

    `without` names the parts that come from elsewhere, so that their weights may be missing.
    """
    if weights == EMBEDDED:
        return EMBEDDED_FOLDER
    if Path(weights).is_dir():
        return Path(weights)
    snapshot = snapshot_folder(weights) if is_repository(weights) else None
    return None if snapshot is None or missing_files(snapshot, without) else snapshot


def local_path(weights: str, without: Collection[str] = ()) -> Path | None:
    """The local folder or file of some weights; None unless all of it is here. `without` as in `local_folder`."""
    if (folder := local_folder(weights, without)) is not None:
        return folder
    try:
        path = local_file(Path(weights))
    except (OSError, ValueError):
        return None
    return path if path.exists() else None


def local_file(path: Path) -> Path:
    """An absolute path as it is; for owner/repository/file on the hub, the cache's copy.

    Raises `OSError` without a copy, and `ValueError` when the path is no hub name.
    """
    if path.is_absolute():
        return path
    if (named := split_file(path.as_posix())) is None:
        raise ValueError(f"'{path}' is neither a file nor a file of a hub repository")
    repository, name = named
    newest, others = snapshot_folder(repository), (repository_folder(repository) / "snapshots").glob("*")
    for snapshot in (*(() if newest is None else (newest,)), *sorted(others)):
        if (snapshot / name).is_file():
            return snapshot / name
    raise FileNotFoundError(f"'{path}' is not in the hub's cache {hub_cache()}")
