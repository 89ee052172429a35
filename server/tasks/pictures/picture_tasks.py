"""Tasks that are answered at once with one stored picture: uploads and preprocessing.

They never wait in the queue. Their rows let a client ask again for the answer. Knows no wire format: `task` is kept
for the dialect that accepted it.
"""

import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from server.database import Database
from server.tasks.cancel_scopes import CancelScopes
from server.tasks.task_ids import IdClaims

SCHEMA = """
CREATE TABLE IF NOT EXISTS picture_tasks (
    owner TEXT NOT NULL,
    task_id TEXT NOT NULL,
    task TEXT NOT NULL,
    picture_uuid TEXT,
    input_uuid TEXT,
    warnings TEXT NOT NULL DEFAULT '[]',
    PRIMARY KEY (owner, task_id),
    FOREIGN KEY (owner, task_id) REFERENCES task_ids ON DELETE CASCADE
);
"""
_IDS = IdClaims("picture")


@dataclass(frozen=True, slots=True)
class PictureTask:
    """One such task. `picture_uuid` is None until it is finished. `input_uuid` is its input picture."""

    owner: str
    task_id: str
    task: dict[str, Any]
    picture_uuid: str | None = None
    input_uuid: str | None = None
    warnings: tuple[str, ...] = ()


class PictureTasks:
    """The picture tasks of one database."""

    def __init__(self, database: Database, scopes: CancelScopes) -> None:
        self._database = database
        self._scopes = scopes

    async def open(self) -> None:
        """Release the ids of tasks that an earlier process did not finish."""

        def work(connection: sqlite3.Connection) -> None:
            unfinished = "SELECT owner, task_id FROM picture_tasks WHERE picture_uuid IS NULL"
            connection.execute(f"DELETE FROM task_ids WHERE (owner, task_id) IN ({unfinished})")

        await self._database.run(work)

    @contextlib.asynccontextmanager
    async def accept(self, task: PictureTask) -> AsyncIterator[None]:
        """Claim the id of a task within this block, and release it on failure.

        Raises `ConflictTaskUUID`, and `TaskCancelled` in the place of the block when the task is cancelled.
        """

        def begin(connection: sqlite3.Connection) -> None:
            _IDS.claim(connection, task.owner, task.task_id)
            query = "INSERT INTO picture_tasks (owner, task_id, task) VALUES (?, ?, ?)"
            connection.execute(query, (*_key(task), json.dumps(task.task)))

        await self._database.run(begin)
        try:
            async with self._scopes.open(task.owner, task.task_id):
                yield
        except BaseException:
            await self._database.run(lambda connection: _IDS.forget(connection, task.owner, task.task_id))
            raise

    async def finish(self, task: PictureTask, expires: float) -> None:
        """Keep the answer of an accepted task until a time, in seconds since the epoch."""

        def work(connection: sqlite3.Connection) -> None:
            answer = (task.picture_uuid, task.input_uuid, json.dumps(task.warnings))
            query = "UPDATE picture_tasks SET picture_uuid = ?, input_uuid = ?, warnings = ? "
            connection.execute(query + "WHERE (owner, task_id) = (?, ?)", (*answer, *_key(task)))
            _IDS.expire(connection, task.owner, task.task_id, expires)

        await self._database.run(work)

    async def find(self, owner: str, task_id: str) -> PictureTask | None:
        """The task of an id, finished or not."""

        def work(connection: sqlite3.Connection) -> PictureTask | None:
            query = "SELECT * FROM picture_tasks WHERE (owner, task_id) = (?, ?)"
            row = connection.execute(query, (owner, task_id.lower())).fetchone()
            return _task(row) if row else None

        return await self._database.run(work)


def _key(task: PictureTask) -> tuple[str, str]:
    return task.owner, task.task_id.lower()


def _task(row: sqlite3.Row) -> PictureTask:
    return PictureTask(
        owner=row["owner"],
        task_id=row["task_id"],
        task=json.loads(row["task"]),
        picture_uuid=row["picture_uuid"],
        input_uuid=row["input_uuid"],
        warnings=tuple(json.loads(row["warnings"])),
    )
