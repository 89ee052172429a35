"""Uploads of LoRAs: the stages of each upload, and its row in the database.

A restart loses none. Knows rows and the items of answers; knows no download.
"""

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from server.api.runware.responses import Item, TaskRef
from server.api.runware.schema.tasks import ModelUpload
from server.database import Database
from server.errors import ApiError
from server.tasks.task_ids import IdClaims

SCHEMA = """
CREATE TABLE IF NOT EXISTS uploads (
    owner TEXT NOT NULL,
    task_uuid TEXT NOT NULL COLLATE NOCASE,
    task TEXT NOT NULL,
    items TEXT NOT NULL DEFAULT '[]',
    error TEXT,
    ended INTEGER NOT NULL DEFAULT 0,
    created REAL NOT NULL,
    PRIMARY KEY (owner, task_uuid)
);
"""
KEPT_UPLOADS = 1000
_IDS = IdClaims("lora")


class Upload:
    """One upload, running or ended: the items so far, and the error that ended it."""

    def __init__(self, task: ModelUpload) -> None:
        self.task_uuid = task.taskUUID
        self.ref = TaskRef(task.taskType, task.taskUUID)
        self.items: list[Item] = []
        self.error: ApiError | None = None
        self.ended = False
        self._news = asyncio.Event()

    def add_stage(self, status: str, message: str, **more: str) -> None:
        """Add an item, and wake the followers."""
        self._add(status, message, **more)
        self._wake_followers()

    def fail(self, error: ApiError) -> None:
        """Record the error that ends the upload. `end` wakes the followers."""
        self.error = error
        self._add("failed", error.message)

    def end(self) -> None:
        """Let the followers finish. No more items come."""
        self.ended = True
        self._wake_followers()

    async def follow(self) -> AsyncIterator[Item]:
        """Yield the items as they come, until the upload ends."""
        sent = 0
        while True:
            news = self._news
            while sent < len(self.items):
                yield self.items[sent]
                sent += 1
            if self.ended:
                return
            await news.wait()

    def _add(self, status: str, message: str, **more: str) -> None:
        self.items.append(self.ref.keys | {"status": status, "message": message} | more)

    def _wake_followers(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


@dataclass(frozen=True, slots=True)
class KeptUpload:
    """An upload with its owner and its task, as a row has them."""

    owner: str
    task: ModelUpload
    upload: Upload


class UploadRows:
    """The newest `KEPT_UPLOADS` uploads of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, owner: str, task: ModelUpload) -> None:
        """Insert an upload before it starts. Replaces a failed one. Raises `ConflictTaskUUID`."""
        row = (owner, task.taskUUID, task.model_dump_json(), time.time())

        def work(connection: sqlite3.Connection) -> None:
            _IDS.claim(connection, owner, task.taskUUID)
            connection.execute(
                "INSERT OR REPLACE INTO uploads (owner, task_uuid, task, created) VALUES (?, ?, ?, ?)", row
            )
            newest = "SELECT rowid FROM uploads ORDER BY created DESC LIMIT ?"
            query = f"DELETE FROM uploads WHERE ended AND rowid NOT IN ({newest}) RETURNING owner, task_uuid"
            for deleted in connection.execute(query, (KEPT_UPLOADS,)).fetchall():
                _IDS.forget(connection, deleted["owner"], deleted["task_uuid"])

        await self._database.run(work)

    async def end(self, owner: str, upload: Upload) -> None:
        """Store the items and the error of an ended upload."""
        row = (json.dumps(upload.items), _as_text(upload.error), owner, upload.task_uuid)

        def work(connection: sqlite3.Connection) -> None:
            query = "UPDATE uploads SET ended = 1, items = ?, error = ? WHERE owner = ? AND task_uuid = ?"
            connection.execute(query, row)
            if upload.error is not None:
                _IDS.release(connection, owner, upload.task_uuid)

        await self._database.run(work)

    async def all(self) -> list[KeptUpload]:
        """Every upload, the oldest first. One that had not ended has no stages."""

        def work(connection: sqlite3.Connection) -> list[KeptUpload]:
            return [_kept(row) for row in connection.execute("SELECT * FROM uploads ORDER BY created")]

        return await self._database.run(work)


def _kept(row: sqlite3.Row) -> KeptUpload:
    task = ModelUpload.model_validate_json(row["task"])
    upload = Upload(task)
    upload.items = json.loads(row["items"])
    upload.ended = bool(row["ended"])
    upload.error = _from_text(row["error"])
    return KeptUpload(row["owner"], task, upload)


def _as_text(error: ApiError | None) -> str | None:
    if error is None:
        return None
    known = {"message": error.message, "code": error.code, "parameter": error.parameter, "details": error.details}
    return json.dumps(known)


def _from_text(text: str | None) -> ApiError | None:
    return None if text is None else ApiError(**json.loads(text))
