"""A repository of the hub: its files with their sizes and checksums, as the hub tells them. Imports no torch."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pipelines.catalog.hub.cache import MAIN, repository_folder
from pipelines.catalog.hub.errors import HubError, client_errors, connection_errors

GB = 10**9
_DIGEST = re.compile(r"[\w-]+")


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of a repository. `digest` is a SHA-256 in 64 digits, or git's SHA-1 of a small file in 40."""

    name: str
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Repository:
    """What the hub tells of a repository's main branch: its commit, and its files."""

    name: str
    commit: str
    files: tuple[HubFile, ...]

    @property
    def snapshot(self) -> Path:
        """The folder that shows the files under their own names."""
        return repository_folder(self.name) / "snapshots" / self.commit

    def shown(self, file: HubFile) -> Path:
        """The path of a file in the snapshot."""
        return self.snapshot / file.name

    def blob(self, file: HubFile) -> Path:
        """The path of a file's content in the cache, which snapshots link to."""
        return repository_folder(self.name) / "blobs" / file.digest

    def draft(self, file: HubFile) -> Path:
        """The file that a download is written to. Its name is the same in every process."""
        return self.blob(file).with_name(f"{file.digest}.incomplete")

    def bytes_here(self, file: HubFile) -> int:
        """How much of a file is here."""
        if self.blob(file).is_file() or self.shown(file).is_file():
            return file.size
        draft = self.draft(file)
        return min(draft.stat().st_size, file.size) if draft.is_file() else 0

    def select(self, names: Iterable[str]) -> tuple[HubFile, ...]:
        """The files of these names. Raises `HubError` for a name that the repository does not have."""
        by_name = {file.name: file for file in self.files}
        names = tuple(names)
        if unknown := [name for name in names if name not in by_name]:
            near = difflib.get_close_matches(unknown[0], by_name, n=1, cutoff=0.3)
            nearest = f"; the nearest is '{near[0]}'" if near else ""
            raise HubError(f"the repository {self.name} has no file '{unknown[0]}'{nearest}")
        return tuple(by_name[name] for name in names)


def bytes_to_download(repository: Repository, files: Iterable[HubFile]) -> int:
    """The bytes of these files that are not here. Files of equal content count once."""
    return sum({file.digest: file.size - repository.bytes_here(file) for file in files}.values())


def list_repository(name: str) -> Repository:
    """Ask the hub for a repository's files. Raises `HubError`."""
    from huggingface_hub import HfApi, constants

    with client_errors(name), connection_errors(name):
        api = HfApi(endpoint=constants.ENDPOINT)
        info = api.model_info(name, revision=MAIN, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT)
        if info.sha is None:
            raise HubError(f"the hub {constants.ENDPOINT} tells no commit of {name}")
        files = tuple(_hub_file(name, info.sha, sibling) for sibling in info.siblings or ())
    return Repository(name, info.sha, files)


def _hub_file(repository: str, commit: str, sibling: Any) -> HubFile:
    """A file of the hub's answer. A mirror that tells names only is asked for the rest."""
    name, size, digest = sibling.rfilename, sibling.size, sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
    if size is None or digest is None:
        from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url

        url = hf_hub_url(repository, name, revision=commit, endpoint=constants.ENDPOINT)
        told = get_hf_file_metadata(url, timeout=constants.HF_HUB_ETAG_TIMEOUT)
        size, digest = told.size, told.etag
    path = PurePosixPath(name)
    if size is None or digest is None or _DIGEST.fullmatch(digest) is None or path.is_absolute() or ".." in path.parts:
        raise HubError(f"the hub tells no usable name, size and checksum of the file '{name}' of {repository}")
    return HubFile(name, size, digest)
