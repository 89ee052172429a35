"""Downloads the files of a model from the hub into its client's cache. Imports no torch."""

import os
import shutil
import threading
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pipelines.catalog.hub.cache import (
    MAIN,
    hub_cache,
    is_repository,
    local_file,
    local_folder,
    repository_folder,
    snapshot_folder,
    split_file,
)
from pipelines.catalog.hub.errors import HubError, disk_errors
from pipelines.catalog.hub.repository import GB, HubFile, Repository, bytes_to_download, list_repository
from pipelines.catalog.hub.snapshots import missing_files, model_files
from pipelines.catalog.hub.transfer import TransferStopped, show, transfer
from pipelines.progress import show_progress

_CONNECTIONS = 4  # files at a time: one connection to a content network rarely fills a fast line


def fetch_folder(weights: str, without: Collection[str] = ()) -> Path:
    """The folder of some weights, downloaded if it is not wholly here. Raises `HubError`.

    A whole copy is used as it is, and the hub is not asked. `without` names parts that come from elsewhere.
    """
    if (here := local_folder(weights, without)) is not None:
        return here
    if not is_repository(weights):
        raise HubError(f"there is no folder '{weights}', and it is no name of a hub repository")
    repository = list_repository(weights)
    return download(repository, model_of(repository, without))


def fetch_file(path: Path) -> Path:
    """The local copy of a file, downloaded if it is owner/repository/file and not here.

    Raises `HubError`, and `ValueError` when the path is no hub name.
    """
    try:
        return local_file(path)
    except FileNotFoundError:
        named = split_file(path.as_posix())
        if named is None:
            raise
    repository = list_repository(named[0])
    return download(repository, repository.select((named[1],))) / named[1]


def model_of(repository: Repository, without: Collection[str] = ()) -> tuple[HubFile, ...]:
    """The files that the model of a repository is loaded from. Raises `HubError` when it holds none."""
    names = model_files((file.name for file in repository.files), without)
    if not names:
        raise HubError(
            f"the repository {repository.name} holds no model in the diffusers layout: name one of its files, as in "
            f"{repository.name}/{_largest(repository)}"
        )
    return repository.select(names)


def download(repository: Repository, files: Sequence[HubFile]) -> Path:
    """Download what is missing of these files, and check it. Returns their folder. Raises `HubError`.

    The folder shows a file only when it is whole. The branch shows the new state only when all files are there, so
    that an interrupted update leaves the former state in use.
    """
    with disk_errors(repository.name):
        for file in repository.files:  # what did not change since the former state
            if repository.blob(file).is_file():
                show(repository, file)
        if missing := [file for file in files if not repository.shown(file).is_file()]:
            _check_disk(repository, missing)
            _transfer_all(repository, tuple({file.digest: file for file in missing}.values()))
        for file in missing:  # several may have the same content
            show(repository, file)
        _point_branch(repository)
    return repository.snapshot


def _check_disk(repository: Repository, files: Sequence[HubFile]) -> None:
    folder = hub_cache()
    folder.mkdir(parents=True, exist_ok=True)
    needed, free = bytes_to_download(repository, files), shutil.disk_usage(folder).free
    if needed > free:
        raise HubError(
            f"{repository.name} takes {needed / GB:.1f} GB more, and the disk of {folder} has {free / GB:.1f} GB free: "
            "free some, or set HF_HOME to a folder on another disk"
        )


def _transfer_all(repository: Repository, files: Sequence[HubFile]) -> None:
    stop = threading.Event()
    total = sum(file.size for file in files)
    with show_progress(f"downloading {repository.name}", total) as advance, ThreadPoolExecutor(_CONNECTIONS) as pool:

        def work(file: HubFile) -> None:
            try:
                transfer(repository, file, advance, stop)
            except BaseException:
                stop.set()
                raise

        tasks = [pool.submit(work, file) for file in files]
        try:
            failures = [error for task in tasks if (error := task.exception()) is not None]
        finally:  # also at Ctrl-C
            stop.set()
    for error in sorted(failures, key=lambda error: isinstance(error, TransferStopped)):
        raise error


def _point_branch(repository: Repository) -> None:
    """Let the main branch show this state, unless a whole model would become a part of one."""
    former = snapshot_folder(repository.name)
    if former is not None and not missing_files(former) and missing_files(repository.snapshot):
        return
    reference = repository_folder(repository.name) / "refs" / MAIN
    reference.parent.mkdir(parents=True, exist_ok=True)
    draft = reference.with_name(f"{MAIN}.{os.getpid()}")
    draft.write_text(repository.commit, encoding="utf-8")
    draft.replace(reference)


def _largest(repository: Repository) -> str:
    weights = [file for file in repository.files if file.name.endswith((".safetensors", ".gguf"))]
    return max(weights or repository.files, key=lambda file: file.size).name if repository.files else "FILE"
