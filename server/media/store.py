"""Pictures on disk: a file each, and a row that says whose it is and when it expires.

Knows files and rows, not where pictures come from.
"""

import asyncio
import hashlib
import sqlite3
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from server.database import Database
from server.media.decode import Picture
from server.media.files import write_file

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


@dataclass(frozen=True, slots=True)
class Media:
    """One stored picture. Times are seconds since the epoch; `expires` None means never."""

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


class MediaStore:
    """The pictures of one data folder."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder

    def path_for(self, media_uuid: str, extension: str) -> Path:
        """Where the file of a picture belongs, whoever writes it."""
        return self._folder / media_uuid[:2] / f"{media_uuid}.{extension}"

    async def add(self, data: bytes, picture: Picture, *, kind: Kind, owner: str, expires: float | None) -> Media:
        """Keep a picture; the same picture of the same owner is kept once, until the later of its expiries."""
        digest = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
        known = await self._database.run(lambda connection: self._same(connection, owner, kind, digest))
        if known is not None and known.path.is_file():
            return await self.extend(known, expires)
        media_uuid = str(uuid.uuid4())
        path = self.path_for(media_uuid, picture.extension)
        await asyncio.to_thread(write_file, path, data)
        media = Media(
            media_uuid,
            kind,
            owner,
            path,
            picture.mime,
            picture.width,
            picture.height,
            digest,
            time.time(),
            expires,
        )
        await self.adopt(media)
        return media

    async def adopt(self, media: Media) -> None:
        """Keep a picture whose file is in its place already."""
        await self._database.run(lambda connection: self._insert(connection, media))

    async def extend(self, media: Media, expires: float | None) -> Media:
        """Let a picture expire later; never earlier."""
        if media.expires is None or (expires is not None and expires <= media.expires):
            return media

        def work(connection: sqlite3.Connection) -> Media:
            query = "UPDATE media SET expires = ? WHERE uuid = ? RETURNING *"
            row = connection.execute(query, (expires, media.uuid)).fetchone()
            return self._media(row) if row else media

        return await self._database.run(work)

    async def get(self, media_uuid: str, *, owner: str | None) -> Media | None:
        """A picture that has not expired; owner None asks for anybody's."""

        def work(connection: sqlite3.Connection) -> Media | None:
            row = connection.execute("SELECT * FROM media WHERE uuid = ?", (media_uuid.lower(),)).fetchone()
            return self._media(row) if row else None

        media = await self._database.run(work)
        if media is None or (owner is not None and media.owner != owner):
            return None
        expired = media.expires is not None and media.expires <= time.time()
        return None if expired or not media.path.is_file() else media

    async def delete(self, media_uuid: str, *, owner: str) -> bool:
        """Delete a picture. False when the owner has none of that UUID."""

        def work(connection: sqlite3.Connection) -> list[Media]:
            query = "DELETE FROM media WHERE uuid = ? AND owner = ? RETURNING *"
            return [self._media(row) for row in connection.execute(query, (media_uuid.lower(), owner)).fetchall()]

        return await self._unlink(await self._database.run(work)) > 0

    async def sweep(self, now: float) -> int:
        """Delete what has expired; returns how many."""

        def work(connection: sqlite3.Connection) -> list[Media]:
            query = "DELETE FROM media WHERE expires <= ? RETURNING *"
            return [self._media(row) for row in connection.execute(query, (now,)).fetchall()]

        return await self._unlink(await self._database.run(work))

    async def _unlink(self, gone: list[Media]) -> int:
        await asyncio.to_thread(lambda: [media.path.unlink(missing_ok=True) for media in gone])
        return len(gone)

    def _same(self, connection: sqlite3.Connection, owner: str, kind: Kind, digest: str) -> Media | None:
        query = "SELECT * FROM media WHERE owner = ? AND kind = ? AND sha256 = ?"
        row = connection.execute(query, (owner, kind, digest)).fetchone()
        return self._media(row) if row else None

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

    def _media(self, row: sqlite3.Row) -> Media:
        fields = {name: row[name] for name in row.keys() if name != "file"}  # noqa: SIM118  a Row iterates its values
        return Media(path=self._folder / row["file"], **fields)
