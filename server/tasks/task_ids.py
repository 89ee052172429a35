"""The table of task ids: one for all kinds of task, so that an id means one task of its owner.

An id is claimed in the transaction that accepts its task. It is released when the task fails, so that the same task may
be sent again, and forgotten with the task's result. Knows no result and no wire format; letter case is ignored.
"""

import sqlite3
import time
from dataclasses import dataclass
from typing import Literal

from server.database import Database
from server.errors import ConflictTaskUUID

# A job in the queue, a task that is answered with one stored picture, the installation of a LoRA.
Kind = Literal["job", "picture", "lora"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS task_ids (
    owner TEXT NOT NULL,
    task_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    released INTEGER NOT NULL DEFAULT 0,
    expires REAL,
    PRIMARY KEY (owner, task_id)
);
CREATE INDEX IF NOT EXISTS task_ids_by_expiry ON task_ids (expires);
"""


@dataclass(frozen=True, slots=True)
class IdClaims:
    """The ids of one kind of task, inside the transactions of the module that keeps its results."""

    kind: Kind

    def claim(self, connection: sqlite3.Connection, owner: str, task_id: str) -> None:
        """Take an id. Raises `ConflictTaskUUID` when another task of this owner has it."""
        key = owner, task_id.lower()
        query = "DELETE FROM task_ids WHERE owner = ? AND task_id = ? AND (released OR expires <= ?)"
        connection.execute(query, (*key, time.time()))
        query = "INSERT OR IGNORE INTO task_ids (owner, task_id, kind) VALUES (?, ?, ?)"
        if connection.execute(query, (*key, self.kind)).rowcount == 0:
            raise ConflictTaskUUID

    def release(self, connection: sqlite3.Connection, owner: str, task_id: str) -> None:
        """Let the id of a failed task be claimed again. Until then it still finds that task."""
        self._run(connection, "UPDATE task_ids SET released = 1", owner, task_id)

    def expire(self, connection: sqlite3.Connection, owner: str, task_id: str, expires: float) -> None:
        """Keep an id until a time, in seconds since the epoch."""
        self._run(connection, "UPDATE task_ids SET expires = ?", owner, task_id, expires)

    def forget(self, connection: sqlite3.Connection, owner: str, task_id: str) -> None:
        """Delete an id together with its result."""
        self._run(connection, "DELETE FROM task_ids", owner, task_id)

    def _run(self, connection: sqlite3.Connection, query: str, owner: str, task_id: str, *values: float) -> None:
        # A released id may by now belong to a task of another kind.
        query += " WHERE owner = ? AND task_id = ? AND kind = ?"
        connection.execute(query, (*values, owner, task_id.lower(), self.kind))


class TaskIds:
    """Questions about the ids of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def check_free(self, owner: str, task_id: str) -> None:
        """Raise `ConflictTaskUUID` before any work is done for a task. `claim` decides again."""

        def work(connection: sqlite3.Connection) -> bool:
            row = _find(connection, owner, task_id)
            return row is None or bool(row["released"])

        if not await self._database.run(work):
            raise ConflictTaskUUID

    async def kind(self, owner: str, task_id: str) -> Kind | None:
        """The kind of a task. None if its owner has no such task."""

        def work(connection: sqlite3.Connection) -> Kind | None:
            row = _find(connection, owner, task_id)
            return row["kind"] if row else None

        return await self._database.run(work)

    async def sweep(self, now: float) -> None:
        """Delete the ids that have expired, and what refers to them."""
        await self._database.run(
            lambda connection: connection.execute("DELETE FROM task_ids WHERE expires <= ?", (now,))
        )


def _find(connection: sqlite3.Connection, owner: str, task_id: str) -> sqlite3.Row | None:
    query = "SELECT * FROM task_ids WHERE owner = ? AND task_id = ? AND (expires IS NULL OR expires > ?)"
    return connection.execute(query, (owner, task_id.lower(), time.time())).fetchone()
