"""Images on disk: a file each, and a row with its owner and its expiry.

Knows files and rows. Does not know where images come from.
"""

import asyncio
import hashlib
import sqlite3
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from server.database import Database
from server.media.decoding.decode import Picture
from server.media.files import delete_drafts, put_in_place, write_file
from server.storage import DiskSpace

Kind = Literal["input", "upload", "result"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS media (
    uuid TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    owner TEXT NOT NULL,
    file TEXT NOT NULL,
    mime TEXT NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    created REAL NOT NULL,
    expires REAL
);
CREATE INDEX IF NOT EXISTS media_by_expiry ON media (expires);
CREATE INDEX IF NOT EXISTS media_by_content ON media (owner, kind, sha256);
"""

_LATER = "expires = max(expires, ?)"  # max(x, NULL) is NULL, so an image that never expires stays so


@dataclass(frozen=True, slots=True)
class Media:
    """One stored image. Times are seconds since the epoch. `expires` is None when it never expires.

    An input's file is a copy that was written anew. Its `sha256` is that of the image as it was sent.
    """

    uuid: str
    kind: Kind
    owner: str
    path: Path
    mime: str
    width: int
    height: int
    sha256: str
    created: float
    expires: float | None

    @property
    def thumbnail(self) -> Path:
        """The path of its thumbnail, beside it. The file is there once somebody has asked for it."""
        return self.path.with_name(f"{self.uuid}.thumbnail.webp")


FilesInUse = Callable[[sqlite3.Connection], frozenset[Path]]


def _none_in_use(_: sqlite3.Connection) -> frozenset[Path]:
    return frozenset()


class MediaStore:
    """The images of one data folder. The files that `in_use` finds stay, whatever becomes of their images."""

    def __init__(
        self, database: Database, folder: Path, in_use: FilesInUse = _none_in_use, *, least_free: int = 0
    ) -> None:
        """`least_free` are the bytes that must be free on the disk before anything is begun."""
        self._database = database
        self._folder = folder
        self._in_use = in_use
        self.space = DiskSpace(folder, least_free)

    async def open(self) -> None:
        """Delete the unfinished files of an earlier process. Call it before any worker starts."""
        await asyncio.to_thread(delete_drafts, self._folder)

    def path_for(self, media_uuid: str, extension: str) -> Path:
        """The path of an image's file."""
        return self._folder / media_uuid[:2] / f"{media_uuid}.{extension}"

    async def add(self, data: bytes, picture: Picture, *, kind: Kind, owner: str, expires: float | None) -> Media:
        """Store an image. The same bytes of the same owner and kind are stored once, until the later expiry."""
        digest = await asyncio.to_thread(digest_of, data)
        stored = await self._claim(picture, digest, kind, owner, expires)
        await asyncio.to_thread(_ensure_file, stored.path, lambda: write_file(stored.path, data))
        return stored

    async def add_input(self, draft: Path, digest: str, picture: Picture, *, owner: str, expires: float) -> Media:
        """Store an input whose pixels a draft has, and that was sent as bytes with this digest. Moves the draft."""
        stored = await self._claim(picture, digest, "input", owner, expires)
        await asyncio.to_thread(_ensure_file, stored.path, lambda: _move(draft, stored.path))
        return stored

    async def find_input(self, digest: str, *, owner: str, expires: float) -> Media | None:
        """The owner's input that was sent as bytes with this digest, kept until `expires` at least."""

        def work(connection: sqlite3.Connection) -> Media | None:
            known = self._renew(connection, digest, "input", owner, expires)
            return known if known is not None and known.path.is_file() else None

        return await self._database.run(work)

    async def _claim(self, picture: Picture, digest: str, kind: Kind, owner: str, expires: float | None) -> Media:
        """The row of an image: a known one with a later expiry, or a new one."""
        new = str(uuid.uuid4())
        path = self.path_for(new, picture.extension)
        size = (picture.width, picture.height)
        media = Media(new, kind, owner, path, picture.mime, *size, digest, time.time(), expires)

        def work(connection: sqlite3.Connection) -> Media:
            known = self._renew(connection, digest, kind, owner, expires)
            if known is None:
                self._insert(connection, media)
            return known or media

        # The row is written first: of two that add the same image at once, the second one finds it. A crash then
        # leaves a row that a sweep deletes, and no file without a row.
        return await self._database.run(work)

    def _renew(
        self, connection: sqlite3.Connection, digest: str, kind: Kind, owner: str, expires: float | None
    ) -> Media | None:
        query = f"UPDATE media SET {_LATER} WHERE owner = ? AND kind = ? AND sha256 = ? RETURNING *"
        known = connection.execute(query, (expires, owner, kind, digest)).fetchall()
        return self.from_row(known[0]) if known else None

    async def adopt(self, media: Media) -> None:
        """Add a row for an image whose file exists."""
        await self._database.run(lambda connection: self._insert(connection, media))

    async def extend(self, media: Media, expires: float | None) -> Media | None:
        """Move an image's expiry to a later time, never to an earlier one. None when the image is gone."""

        def work(connection: sqlite3.Connection) -> Media | None:
            query = f"UPDATE media SET {_LATER} WHERE uuid = ? RETURNING *"
            found = connection.execute(query, (expires, media.uuid)).fetchall()
            return self.from_row(found[0]) if found else None

        return await self._database.run(work)

    async def get(self, media_uuid: str, *, owner: str | None) -> Media | None:
        """An image that has not expired and whose file exists. With owner None, an image of any owner."""

        def work(connection: sqlite3.Connection) -> Media | None:
            query = "SELECT * FROM media WHERE uuid = ? AND (expires IS NULL OR expires > ?)"
            row = connection.execute(query, (media_uuid.lower(), time.time())).fetchone()
            if row is None or (owner is not None and row["owner"] != owner):
                return None
            media = self.from_row(row)
            return media if media.path.is_file() else None

        return await self._database.run(work)

    async def delete(self, media_uuid: str, *, owner: str) -> bool:
        """Delete an image. False when the owner has no image of that UUID.

        One that is in use is gone for its owner at once, and a later sweep deletes its file.
        """
        key = media_uuid.lower(), owner

        def work(connection: sqlite3.Connection) -> tuple[bool, list[Media]]:
            query = "UPDATE media SET expires = 0 WHERE uuid = ? AND owner = ? AND expires IS NOT 0 RETURNING *"
            found = [self.from_row(row) for row in connection.execute(query, key).fetchall()]
            return bool(found), self._delete_rows(connection, found)

        found, gone = await self._database.run(work)
        await self._delete_files(gone)
        return found

    async def sweep(self, now: float) -> int:
        """Delete the images that have expired and are not in use. Returns how many."""

        def work(connection: sqlite3.Connection) -> list[Media]:
            query = "SELECT * FROM media WHERE expires <= ?"
            found = [self.from_row(row) for row in connection.execute(query, (now,)).fetchall()]
            return self._delete_rows(connection, found)

        return await self._delete_files(await self._database.run(work))

    def _delete_rows(self, connection: sqlite3.Connection, found: list[Media]) -> list[Media]:
        """Delete the rows of images whose files are not in use, and return those."""
        in_use = self._in_use(connection) if found else frozenset()
        gone = [media for media in found if media.path not in in_use]
        connection.executemany("DELETE FROM media WHERE uuid = ?", [(media.uuid,) for media in gone])
        return gone

    async def _delete_files(self, gone: list[Media]) -> int:
        def work() -> None:
            for media in gone:
                media.path.unlink(missing_ok=True)
                media.thumbnail.unlink(missing_ok=True)

        await asyncio.to_thread(work)
        return len(gone)

    def _insert(self, connection: sqlite3.Connection, media: Media) -> None:
        connection.execute(
            "INSERT OR REPLACE INTO media VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                media.uuid,
                media.kind,
                media.owner,
                str(media.path.relative_to(self._folder)),
                media.mime,
                media.width,
                media.height,
                media.sha256,
                media.created,
                media.expires,
            ),
        )

    def from_row(self, row: sqlite3.Row) -> Media:
        """The image of a row, which may have columns of other tables too."""
        values = {field.name: row[field.name] for field in fields(Media) if field.name != "path"}
        return Media(path=self._folder / row["file"], **values)


def digest_of(data: bytes) -> str:
    """The SHA-256 of an image as it was sent, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def _ensure_file(path: Path, place: Callable[[], None]) -> None:
    if not path.is_file():
        place()


def _move(draft: Path, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    put_in_place(draft, path)
