"""Transfers one file of a repository into the cache, checks it, and shows it in the snapshot.

A transfer that breaks off goes on inside the file, also in another process: the hub's own client begins anew. The
layout of the cache is the client's, so its other users find the file. Imports no torch.
"""

import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from pipelines.catalog.hub.cache import hub_cache, repository_folder
from pipelines.catalog.hub.errors import HubError, client_errors
from pipelines.catalog.hub.repository import GB, HubFile, Repository
from pipelines.errors import first_line
from pipelines.progress import Advance

log = structlog.get_logger()

_CHUNK = 2**20
_TRIES = 5  # in a row without a new byte
_SHA256, _GIT_SHA1 = 64, 40  # digits


class TransferStopped(Exception):
    """The transfer has been told to stop."""


def transfer(repository: Repository, file: HubFile, advance: Advance, stop: threading.Event) -> None:
    """Bring a file into the snapshot. Raises `HubError`, or `TransferStopped` when `stop` is set."""
    blob = repository.blob(file)
    with _locked(repository, file):
        if blob.is_file():
            advance(file.size)
        else:
            draft = repository.draft(file)
            _fill(repository, file, draft, advance, stop)
            _check(repository, file, draft)
            draft.replace(blob)
    show(repository, file)


def show(repository: Repository, file: HubFile) -> None:
    """Show a file whose content is here in the snapshot."""
    shown, blob = repository.shown(file), repository.blob(file)
    if shown.is_file():
        return
    shown.parent.mkdir(parents=True, exist_ok=True)
    shown.unlink(missing_ok=True)  # a link to a deleted file
    try:
        shown.symlink_to(os.path.relpath(blob, shown.parent))
    except OSError:  # a file system without links: the client too keeps the file itself there
        shutil.move(blob, shown)


@contextmanager
def _locked(repository: Repository, file: HubFile) -> Iterator[None]:
    """Keep other processes from the same file: the workers of several GPUs start at once."""
    from filelock import FileLock, Timeout

    path = hub_cache() / ".locks" / repository_folder(repository.name).name / f"{file.digest}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("another process downloads this file: waiting", repository=repository.name, file=file.name)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _fill(repository: Repository, file: HubFile, draft: Path, advance: Advance, stop: threading.Event) -> None:
    """Transfer the rest of a file. A broken connection is opened again as long as bytes arrive."""
    import httpx2

    draft.parent.mkdir(parents=True, exist_ok=True)
    draft.touch()
    if draft.stat().st_size > file.size:
        os.truncate(draft, 0)
    advance(draft.stat().st_size)
    tries = 0
    while (before := draft.stat().st_size) < file.size:
        if stop.wait(min(tries, 2)):
            raise TransferStopped
        reason = "the connection ended"
        try:
            with client_errors(repository.name):
                _append(repository, file, draft, advance, stop)
        except httpx2.TransportError as error:
            reason = first_line(error)
        here = draft.stat().st_size
        if here == file.size:
            return
        tries = 0 if here > before else tries + 1
        if tries >= _TRIES:
            raise HubError(
                f"the download of {file.name} from {repository.name} broke off at {here / GB:.2f} of "
                f"{file.size / GB:.2f} GB ({reason}): the same command goes on from there"
            )
        log.info("the connection broke off: going on", file=file.name, gigabytes=round(here / GB, 2))


def _append(repository: Repository, file: HubFile, draft: Path, advance: Advance, stop: threading.Event) -> None:
    """Ask for the bytes that are missing, and write what comes."""
    from huggingface_hub import constants, hf_hub_url
    from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_stream_backoff

    url = hf_hub_url(repository.name, file.name, revision=repository.commit, endpoint=constants.ENDPOINT)
    with draft.open("ab") as out:
        start = out.tell()
        headers = build_hf_headers() | {"Accept-Encoding": "identity", "Range": f"bytes={start}-"}
        with http_stream_backoff(
            "GET",
            url,
            headers=headers,
            timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
            follow_redirects=True,
            max_retries=2,
            retry_on_exceptions=(),
        ) as response:
            hf_raise_for_status(response)
            if response.status_code != 206:  # a server without ranges sends the whole file
                out.truncate(0)
                advance(-start)
                start = 0
            for chunk in response.iter_bytes(_CHUNK):
                if stop.is_set():
                    raise TransferStopped
                start += len(chunk)
                if start > file.size:
                    raise HubError(f"the hub sends more than the {file.size} bytes of {file.name} of {repository.name}")
                out.write(chunk)
                advance(len(chunk))


def _check(repository: Repository, file: HubFile, draft: Path) -> None:
    """Raise `HubError` for a file with another content, and delete it. A mirror's own mark is no checksum."""
    with draft.open("rb") as opened:
        digest = file.digest
        if len(digest) == _SHA256:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
        elif len(digest) == _GIT_SHA1:
            content = opened.read()
            digest = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    if digest != file.digest:
        draft.unlink()
        raise HubError(
            f"{file.name} of {repository.name} arrived damaged, with another checksum: it is deleted, and the same "
            "command downloads it again"
        )
