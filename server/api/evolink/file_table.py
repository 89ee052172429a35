"""The uploaded files of each key, with the names that their senders gave. The pictures themselves are in the store."""

import sqlite3
import time
from dataclasses import dataclass, fields

from server.database import Database

SCHEMA = """
CREATE TABLE IF NOT EXISTS evolink_files (
    file_id TEXT NOT NULL,
    owner TEXT NOT NULL,
    original_name TEXT NOT NULL,
    file_name TEXT NOT NULL,
    upload_path TEXT NOT NULL,
    size INTEGER NOT NULL,
    mime TEXT NOT NULL,
    created REAL NOT NULL,
    expires REAL NOT NULL,
    PRIMARY KEY (owner, file_id)
);
"""


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """One file. `file_id` is the UUID of its picture. Times are in seconds since the epoch, `size` in bytes."""

    file_id: str
    owner: str
    original_name: str
    file_name: str
    upload_path: str
    size: int
    mime: str
    created: float
    expires: float


_COLUMNS = ", ".join(field.name for field in fields(UploadedFile))
_VALID = "owner = ? AND expires > ?"


class FileTable:
    """The files of one database. Expired files are left out."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, file: UploadedFile) -> None:
        """Add a file. The same picture sent again is one file, under its new name. Forgets what has expired."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM evolink_files WHERE expires <= ?", (time.time(),))
            values = [getattr(file, field.name) for field in fields(UploadedFile)]
            marks = ", ".join("?" * len(values))
            connection.execute(f"INSERT OR REPLACE INTO evolink_files ({_COLUMNS}) VALUES ({marks})", values)

        await self._database.run(work)

    async def page(self, owner: str, *, offset: int, limit: int) -> list[UploadedFile]:
        """Some of the files of a key, the latest first."""

        def work(connection: sqlite3.Connection) -> list[UploadedFile]:
            query = f"SELECT {_COLUMNS} FROM evolink_files WHERE {_VALID} ORDER BY created DESC LIMIT ? OFFSET ?"
            rows = connection.execute(query, (owner, time.time(), limit, offset)).fetchall()
            return [UploadedFile(*row) for row in rows]

        return await self._database.run(work)

    async def usage(self, owner: str) -> tuple[int, int]:
        """The number of files of a key, and their bytes."""

        def work(connection: sqlite3.Connection) -> tuple[int, int]:
            query = f"SELECT count(*), coalesce(sum(size), 0) FROM evolink_files WHERE {_VALID}"
            count, size = connection.execute(query, (owner, time.time())).fetchone()
            return count, size

        return await self._database.run(work)

    async def delete(self, owner: str, file_id: str) -> bool:
        """Forget a file. False when the key has no such file."""

        def work(connection: sqlite3.Connection) -> bool:
            query = f"DELETE FROM evolink_files WHERE {_VALID} AND file_id = ?"
            return connection.execute(query, (owner, time.time(), file_id)).rowcount > 0

        return await self._database.run(work)
