"""The LoRAs that tasks can name: those of the catalogue, of a local folder, and those installed by upload.

A dialect gets them as part of a `Catalog` for the owner of a task. Installed LoRAs have durable rows. Knows no wire
format, and only the names of the files.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pipelines.catalog.catalog import Adapter, Catalog
from pipelines.catalog.schedules import LoraSchedule, file_schedule
from server.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS loras (
    air TEXT NOT NULL COLLATE NOCASE PRIMARY KEY,
    owner TEXT NOT NULL,
    row TEXT NOT NULL
);
"""
ENDING = ".safetensors"
DRAFT_ENDING = ".part"


class LoraNameTaken(Exception):
    """A model is called so already. `position` is that of the name among those that were checked."""

    def __init__(self, name: str, position: int) -> None:
        super().__init__(f"A model is called '{name}' already.")
        self.position = position


@dataclass(frozen=True, slots=True)
class InstalledLora(Adapter):
    """A LoRA that was uploaded. `created` is in seconds since the epoch. Only its owner can name a private one."""

    owner: str = ""
    private: bool = True
    tags: tuple[str, ...] = ()
    hero_image: str | None = None
    positive_trigger_words: str | None = None
    negative_trigger_words: str | None = None
    short_description: str | None = None
    comment: str | None = None
    created: float = 0.0


def lora_of_file(path: Path) -> Adapter:
    """The LoRA of a file that is named like it."""
    return Adapter(air=path.stem, name=path.stem, weights=str(path), schedule=file_schedule(str(path)))


def loras_in_folder(folder: Path | None) -> list[Adapter]:
    """The LoRAs of a folder by the names of their files. It is read each time, so that a new file is found at once."""
    if folder is None or not folder.is_dir():
        return []
    return [lora_of_file(path) for path in sorted(folder.iterdir()) if path.suffix == ENDING]


class LoraLibrary:
    """The LoRAs of one server. Uploads are stored in `folder`; `local` is a folder that is only read."""

    def __init__(self, catalog: Catalog, database: Database, folder: Path, local: Path | None) -> None:
        self._catalog = catalog
        self._database = database
        self._folder = folder
        self._local = local
        self._installed: dict[str, InstalledLora] = {}

    @property
    def folder(self) -> Path:
        """The folder of uploaded files."""
        return self._folder

    async def open(self) -> None:
        """Read the installed LoRAs, and delete the unfinished downloads of an earlier process."""
        for draft in self._folder.glob(f"*{DRAFT_ENDING}"):
            draft.unlink(missing_ok=True)

        def work(connection: sqlite3.Connection) -> list[str]:
            return [row["row"] for row in connection.execute("SELECT row FROM loras ORDER BY rowid")]

        for text in await self._database.run(work):
            self._remember(self._from_text(text))

    def catalog(self, owner: str) -> Catalog:
        """The models and all LoRAs that an owner can name. Of equal names the catalogue's wins, then an upload's."""
        uploads = tuple(self._installed.values())  # at once: the event loop may add one while another thread reads
        installed = [row for row in uploads if not row.private or row.owner == owner]
        return replace(self._catalog, loras=(*self._catalog.loras, *installed, *loras_in_folder(self._local)))

    async def install(self, lora: InstalledLora) -> None:
        """Add a LoRA whose file is in its place. Raises `LoraNameTaken`."""
        self.check_names((lora.air, *lora.slugs))

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO loras VALUES (?, ?, ?)", (lora.air, lora.owner, self._as_text(lora)))

        self._remember(lora)
        try:
            await self._database.run(work)
        except BaseException:
            del self._installed[lora.air]
            raise

    def has(self, lora: InstalledLora) -> bool:
        """Whether its owner has installed a LoRA of this name."""
        there = self._installed.get(lora.air)
        return there is not None and there.owner == lora.owner

    def check_names(self, names: Sequence[str]) -> None:
        """Raise `LoraNameTaken` when a name is in use, also by another owner's private LoRA."""
        everything = replace(self._catalog, loras=(*self._catalog.loras, *self._installed.values()))
        for position, name in enumerate(names):
            if any(find(name) for find in (everything.find, everything.find_lora, everything.find_controlnet)):
                raise LoraNameTaken(name, position)

    def _remember(self, lora: InstalledLora) -> None:
        self._installed[lora.air] = lora

    def _as_text(self, lora: InstalledLora) -> str:
        """A row; its file by name, so that the data folder can be moved."""
        return json.dumps(asdict(lora) | {"weights": Path(lora.weights).name})

    def _from_text(self, text: str) -> InstalledLora:
        row = json.loads(text)
        lists = {name: tuple(row[name]) for name in ("slugs", "tags")}
        weights = str(self._folder / row["weights"])
        if "schedule" not in row:  # installed by version 0.1
            schedule = file_schedule(weights, row["name"], *row["slugs"])
        else:
            schedule = None if row["schedule"] is None else LoraSchedule(**row["schedule"])
        return InstalledLora(**{**row, **lists, "weights": weights, "schedule": schedule})
