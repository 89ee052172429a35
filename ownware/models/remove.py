"""Frees the disk that a model's files take in the hub's cache, and keeps what another row uses. Imports no torch."""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ownware.models.rows import find_row, find_sources
from pipelines.catalog.catalog import Catalog
from pipelines.catalog.hub.cache import hub_cache, repository_folder
from pipelines.catalog.sources import Source, rows, sources


@dataclass(frozen=True, slots=True)
class Removal:
    """What is deleted of a repository: all of it, or some files. `kept_for` are the rows that use the rest."""

    repository: str
    files: tuple[Path, ...]
    whole: bool
    bytes: int
    kept_for: tuple[str, ...] = ()


def plan_removal(catalog: Catalog, names: Iterable[str]) -> tuple[Removal, ...]:
    """What can be deleted of the named rows and hub names. Raises `UnknownModel`.

    A row that is not named keeps what it uses. A repository without files to delete says which rows keep them.
    """
    names = tuple(names)
    removed = tuple(dict.fromkeys(source for name in names for source in find_sources(catalog, name)))
    named = [row for name in names if (row := find_row(catalog, name)) is not None]
    others = [(row.air, source) for row in rows(catalog) if row not in named for source in sources(row)]
    repositories = dict.fromkeys(source.repository for source in removed if source.repository is not None)
    return tuple(_plan(name, [each for each in removed if each.repository == name], others) for name in repositories)


def _plan(repository: str, removed: Sequence[Source], others: Sequence[tuple[str, Source]]) -> Removal:
    using = [(air, source) for air, source in others if source.repository == repository]
    whole = not using and any(source.file is None for source in removed)
    if whole:
        every = repository_folder(repository).rglob("*")
        files = tuple(path for path in every if path.is_file() and not path.is_symlink())
    else:
        kept = {path.resolve() for _, source in using for path in source.present()}
        wanted = dict.fromkeys(path for source in removed for path in source.present())
        files = tuple(path for path in wanted if path.resolve() not in kept)
    size = sum(path.stat().st_size for path in {path.resolve() for path in files})
    return Removal(repository, files, whole, size, tuple(dict.fromkeys(air for air, _ in using)))


def carry_out(removal: Removal) -> None:
    """Delete the files. Content that another state of the repository shows is kept. Raises `OSError`."""
    folder = repository_folder(removal.repository)
    if removal.whole:
        shutil.rmtree(folder)
        shutil.rmtree(hub_cache() / ".locks" / folder.name, ignore_errors=True)
        return
    contents = {path.resolve() for path in removal.files}
    for path in removal.files:
        path.unlink()
    shown = set(_shown(folder))
    for content in contents:
        if content not in shown:
            content.unlink(missing_ok=True)


def _shown(folder: Path) -> Iterator[Path]:
    return (path.resolve() for path in (folder / "snapshots").rglob("*") if path.is_file())
