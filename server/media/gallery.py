"""The finished images of each owner, the latest first, with the task that made them.

A row stands from the announcement of an image until its file is deleted, so it outlives its task. Knows no job, no
renderer and no wire format.
"""

import sqlite3
import time
from dataclasses import dataclass

from server.database import Database
from server.media.store import Media, MediaStore

# Prompts of one page that are searched: about a twentieth of a second.
MOST_SEARCHED = 20_000
# Prompts are searched without regard to case in every script, which SQLite's own functions cannot do.
SCHEMA = """
CREATE TABLE IF NOT EXISTS gallery (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    image_uuid TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,
    task_uuid TEXT NOT NULL COLLATE NOCASE,
    model TEXT NOT NULL COLLATE NOCASE,
    prompt TEXT NOT NULL,
    folded_prompt TEXT NOT NULL,
    seed INTEGER NOT NULL,
    unsafe INTEGER
);
CREATE INDEX IF NOT EXISTS gallery_by_owner ON gallery (owner);
CREATE INDEX IF NOT EXISTS gallery_by_model ON gallery (owner, model);
CREATE INDEX IF NOT EXISTS gallery_by_task ON gallery (owner, task_uuid);
CREATE TRIGGER IF NOT EXISTS gallery_without_deleted AFTER DELETE ON media BEGIN
    DELETE FROM gallery WHERE image_uuid = OLD.uuid;
END;
"""

_INSERT = (
    "INSERT OR REPLACE INTO gallery (image_uuid, owner, task_uuid, model, prompt, folded_prompt, seed, unsafe) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
# The order of this join is forced: the gallery's index has the order of the page.
_LISTED = (
    "SELECT gallery.id, task_uuid, model, prompt, seed, unsafe, media.* FROM gallery "
    "CROSS JOIN media ON media.uuid = image_uuid WHERE (media.expires IS NULL OR media.expires > ?)"
)


@dataclass(frozen=True, slots=True)
class GalleryImage:
    """One finished image. `unsafe` says whether it is not safe for work, None if it was not checked."""

    media: Media
    task_uuid: str
    model: str
    prompt: str
    seed: int
    unsafe: bool | None


@dataclass(frozen=True, slots=True)
class GalleryFilter:
    """Which images of an owner are meant. None means any. `prompt` is a part of the prompt, in any case."""

    owner: str
    model: str | None = None
    prompt: str | None = None
    task_uuid: str | None = None
    image_uuid: str | None = None

    @property
    def indexed(self) -> tuple[str, list[str | float]]:
        """The condition that an index answers, and its values."""
        parts = {
            "gallery.owner = ?": self.owner,
            "model = ?": self.model,
            "task_uuid = ?": self.task_uuid,
            "image_uuid = ?": self.image_uuid,
        }
        wanted = {part: value for part, value in parts.items() if value is not None}
        return " AND ".join(wanted), list(wanted.values())


def list_image(
    connection: sqlite3.Connection,
    image_uuid: str,
    *,
    owner: str,
    task_uuid: str,
    model: str,
    prompt: str,
    seed: int,
    unsafe: bool | None,
) -> None:
    """Add an image that its owner may see now. Runs inside a transaction of the caller."""
    connection.execute(_INSERT, (image_uuid, owner, task_uuid, model, prompt, prompt.casefold(), seed, unsafe))


def page_query(wanted: GalleryFilter, limit: int, *, before: int | None, down_to: int) -> tuple[str, list[str | float]]:
    """The SQL of a page, and its values. Its rows have ids from `down_to` up to `before`, which is excluded."""
    condition, values = wanted.indexed
    condition += f" AND gallery.id >= {down_to:d}" + ("" if before is None else f" AND gallery.id < {before:d}")
    if wanted.prompt is not None:
        condition, values = f"{condition} AND instr(folded_prompt, ?)", [*values, wanted.prompt.casefold()]
    return f"{_LISTED} AND {condition} ORDER BY gallery.id DESC LIMIT {limit:d}", [time.time(), *values]


def _searched(connection: sqlite3.Connection, wanted: GalleryFilter, before: int | None) -> int | None:
    """The id of the last row that one page may search. None if it may search all that are left."""
    if wanted.prompt is None:
        return None
    condition, values = wanted.indexed
    earlier = "" if before is None else f" AND id < {before:d}"
    query = f"SELECT id FROM gallery WHERE {condition}{earlier} ORDER BY id DESC LIMIT 2 OFFSET {MOST_SEARCHED - 1:d}"
    rows = connection.execute(query, values).fetchall()
    return rows[0]["id"] if len(rows) == 2 else None


class Gallery:
    """The images of one database and the files of one store."""

    def __init__(self, database: Database, media: MediaStore) -> None:
        self._database = database
        self._media = media

    async def page(
        self, wanted: GalleryFilter, *, limit: int, before: int | None = None
    ) -> tuple[list[GalleryImage], int | None]:
        """Images of a filter, the latest first, and where the next page begins. It is None at the end.

        `before` is where the page before has said that this one begins. A page may be short, and even empty, before the
        end: prompts are searched in parts, and images whose file is gone are left out.
        """

        def work(connection: sqlite3.Connection) -> tuple[list[GalleryImage], int | None]:
            following = _searched(connection, wanted, before)
            query, values = page_query(wanted, limit + 1, before=before, down_to=following or 0)
            rows = connection.execute(query, values).fetchall()
            if len(rows) > limit:
                following = rows[limit - 1]["id"]
            images = [self._image(row) for row in rows[:limit]]
            return [image for image in images if image.media.path.is_file()], following

        return await self._database.read(work)

    async def delete(self, image_uuid: str, *, owner: str) -> bool:
        """Delete an image and its file. False when the owner has no finished image of that UUID.

        The file stays while an open task has it as its input, and nobody else can get it any more.
        """
        query = f"{_LISTED} AND gallery.owner = ? AND image_uuid = ?"

        def work(connection: sqlite3.Connection) -> bool:
            return connection.execute(query, (time.time(), owner, image_uuid.lower())).fetchone() is not None

        return await self._database.read(work) and await self._media.delete(image_uuid, owner=owner)

    def _image(self, row: sqlite3.Row) -> GalleryImage:
        unsafe = None if row["unsafe"] is None else bool(row["unsafe"])
        return GalleryImage(
            self._media.from_row(row), row["task_uuid"], row["model"], row["prompt"], row["seed"], unsafe
        )
