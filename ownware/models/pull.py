"""Downloads the sources of a model for `ownware models pull`, and says what is downloaded. Imports no torch."""

from pathlib import Path

from rich.filesize import decimal

from ownware.console import print_message
from pipelines.catalog.hub.download import download
from pipelines.catalog.hub.errors import HubError
from pipelines.catalog.hub.repository import HubFile, Repository, bytes_to_download, list_repository
from pipelines.catalog.hub.snapshots import part_files
from pipelines.catalog.sources import Source


def pull_source(source: Source, part: str | None = None) -> Path:
    """Download a source, or one part of its repository; what is here already is brought up to date.

    Returns the folder or file. Raises `HubError`. A whole copy is enough where the hub cannot be asked.
    """
    here = source.local()
    if source.repository is None:
        if here is None:
            raise HubError(f"there is no '{source.name}', and it is no name of a hub repository")
        print_message(f"{source.name} is on this machine: nothing is downloaded")
        return here
    try:
        repository = list_repository(source.repository)
    except HubError as error:
        if part is not None or here is None:
            raise
        print_message(f"{source.name} is here, and was not brought up to date: {error}")
        return here
    files = source.files_of(repository) if part is None else _files_of_part(repository, part)
    total, missing = sum(file.size for file in files), bytes_to_download(repository, files)
    count = f"{len(files)} file{'s' * (len(files) != 1)}"
    print_message(f"{source.name}: {count}, {decimal(total)}, of which {decimal(missing)} are not here")
    folder = download(repository, files)
    return folder if source.file is None else folder / source.file


def _files_of_part(repository: Repository, part: str) -> tuple[HubFile, ...]:
    names = part_files((file.name for file in repository.files), part)
    if not names:
        raise HubError(f"the repository {repository.name} has no part '{part}'")
    return repository.select(names)
