"""The sources of a row's weights: local folders and files, hub repositories, and single files of them.

Says what of it is on this machine, and how much disk it takes. Asks no hub, opens no weights, and imports no torch.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.catalog.catalog import EMBEDDED, Adapter, Catalog, ModelEntry
from pipelines.catalog.hub.cache import is_repository, local_path, snapshot_folder, split_file
from pipelines.catalog.hub.repository import HubFile, Repository
from pipelines.catalog.hub.snapshots import model_files

Row = ModelEntry | Adapter


@dataclass(frozen=True, slots=True)
class Source:
    """One place that weights come from: `name` as in the models file.

    `without` are the parts of a repository that the row takes from elsewhere.
    """

    name: str
    without: tuple[str, ...] = ()

    @property
    def repository(self) -> str | None:
        """The hub repository; None for something local."""
        if Path(self.name).is_absolute() or self.name == EMBEDDED:
            return None
        named = split_file(self.name)
        return named[0] if named else self.name if is_repository(self.name) else None

    @property
    def file(self) -> str | None:
        """The file of a repository; None for a whole one, and for something local."""
        named = None if self.repository is None else split_file(self.name)
        return named[1] if named else None

    def local(self) -> Path | None:
        """The folder or file on this machine; None unless all of it is here."""
        return local_path(self.name, self.without)

    def present(self) -> tuple[Path, ...]:
        """The files that are on this machine, all or some."""
        if (path := self.local()) is not None and path.is_file():
            return (path,)
        folder = path or (None if self.repository is None or self.file else snapshot_folder(self.repository))
        if folder is None:
            return ()
        names = [each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file()]
        return tuple(folder / name for name in model_files(names, self.without))

    def files_of(self, repository: Repository) -> tuple[HubFile, ...]:
        """The files to download of its repository. Raises `HubError`."""
        from pipelines.catalog.hub.download import model_of

        return model_of(repository, self.without) if self.file is None else repository.select((self.file,))


def sources(row: Row) -> tuple[Source, ...]:
    """The sources of a row: the weights, each component that comes from elsewhere, and the LoRAs of a model."""
    if not isinstance(row, ModelEntry):
        return (Source(row.weights),)
    files = row.files
    own = [*(files.own(component) for component in files.replaced), files.text_encoder_mmproj]
    named = (Source(name) for name in own if name is not None)
    return (Source(files.weights, files.replaced), *named, *(Source(lora.weights) for lora in row.loras))


def missing_sources(row: Row) -> tuple[Source, ...]:
    """The sources of a row that are not wholly on this machine."""
    return tuple(source for source in sources(row) if source.local() is None)


def disk_bytes(sources: Iterable[Source]) -> int:
    """The disk that some sources take on this machine. A file that several of them share counts once."""
    files = {path.resolve() for source in sources for path in source.present()}
    return sum(path.stat().st_size for path in files)


def rows(catalog: Catalog) -> Iterator[Row]:
    """All rows of a catalogue."""
    yield from catalog.entries
    yield from catalog.loras
    yield from catalog.controlnets
