"""Tasks that are answered at once with one stored picture: uploads and preprocessing.

They never wait in the queue. Their rows let a client ask again for the answer. What is due for a picture is written
to the outbox in the transaction that finishes its task. Knows no wire format: `task` is kept for the dialect that
accepted it.
"""

import contextlib
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter

from server.database import Database
from server.delivery import uploads
from server.delivery.outbox import Delivery, add_delivery, end_delivery, uploads_wait
from server.delivery.targets import Upload, Webhook
from server.errors import Failure
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
    webhook TEXT NOT NULL DEFAULT 'null',
    failure TEXT NOT NULL DEFAULT 'null',
    PRIMARY KEY (owner, task_id),
    FOREIGN KEY (owner, task_id) REFERENCES task_ids ON DELETE CASCADE
);
"""
# A task stays this long for its receivers, however soon its picture expires.
DELIVERY_SECONDS = 86_400.0
_IDS = IdClaims("picture")
_WEBHOOK = TypeAdapter(Webhook | None)
_FAILURE = TypeAdapter(Failure | None)


@dataclass(frozen=True, slots=True)
class PictureTask:
    """One such task. `picture_uuid` is None until it is finished. `input_uuid` is its input picture.

    `uploading` says whether its upload has not ended, and `failure` why it failed.
    """

    owner: str
    task_id: str
    task: dict[str, Any]
    picture_uuid: str | None = None
    input_uuid: str | None = None
    warnings: tuple[str, ...] = ()
    webhook: Webhook | None = None
    failure: Failure | None = None
    uploading: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """The owner and the id in lower case, which are unique together."""
        return self.owner, self.task_id.lower()


class PictureTasks:
    """The picture tasks of one database. `wake` is called when there may be something to deliver."""

    def __init__(self, database: Database, scopes: CancelScopes, wake: Callable[[], None] = lambda: None) -> None:
        self._database = database
        self._scopes = scopes
        self._wake = wake

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
            connection.execute(query, (*task.key, json.dumps(task.task)))

        await self._database.run(begin)
        try:
            async with self._scopes.open(task.owner, task.task_id):
                yield
        except BaseException:
            await self._database.run(lambda connection: _IDS.forget(connection, task.owner, task.task_id))
            raise

    async def finish(self, task: PictureTask, expires: float, upload: Upload | None = None) -> None:
        """Keep the answer of an accepted task until a time, in seconds since the epoch.

        Its upload is due then, or without one its webhook. A task that is delivered is kept for `DELIVERY_SECONDS`.
        """

        def work(connection: sqlite3.Connection) -> None:
            webhook = _WEBHOOK.dump_json(task.webhook).decode()
            answer = (json.dumps(task.task), task.picture_uuid, task.input_uuid, json.dumps(task.warnings), webhook)
            query = "UPDATE picture_tasks SET task = ?, picture_uuid = ?, input_uuid = ?, warnings = ?, webhook = ? "
            connection.execute(query + "WHERE (owner, task_id) = (?, ?)", (*answer, *task.key))
            kept = time.time() + DELIVERY_SECONDS if task.webhook or upload else expires
            _IDS.expire(connection, *task.key, max(expires, kept))
            if upload is not None:
                add_delivery(connection, task.key, "upload", 0, upload.url, uploads.DELAYS)
            else:
                _tell(connection, task)

        await self._database.run(work)
        self._wake()

    async def end_upload(self, delivery: Delivery, error: str | None, failure: Failure | None) -> bool:
        """Store that the upload of a picture has ended, well or with a failure of its task. Its webhook is due then.

        False when the task is gone.
        """

        def work(connection: sqlite3.Connection) -> bool:
            if not end_delivery(connection, delivery, error):
                return False
            text = _FAILURE.dump_json(failure).decode()
            query = "UPDATE picture_tasks SET failure = ? WHERE (owner, task_id) = (?, ?)"
            connection.execute(query, (text, *delivery.task))
            if (task := _find(connection, *delivery.task)) is not None:
                _tell(connection, task)
            return True

        ended = await self._database.run(work)
        self._wake()
        return ended

    async def find(self, owner: str, task_id: str) -> PictureTask | None:
        """The task of an id, finished or not."""
        return await self._database.run(lambda connection: _find(connection, owner, task_id.lower()))


def _tell(connection: sqlite3.Connection, task: PictureTask) -> None:
    """Put the notice of an ended task into the outbox, if it has a webhook."""
    if task.webhook is not None:
        add_delivery(connection, task.key, "webhook", None, task.webhook.url, task.webhook.delays)


def _find(connection: sqlite3.Connection, owner: str, task_id: str) -> PictureTask | None:
    query = "SELECT * FROM picture_tasks WHERE (owner, task_id) = (?, ?)"
    row = connection.execute(query, (owner, task_id)).fetchone()
    return None if row is None else _task(row, uploading=uploads_wait(connection, (owner, task_id)))


def _task(row: sqlite3.Row, *, uploading: bool) -> PictureTask:
    return PictureTask(
        owner=row["owner"],
        task_id=row["task_id"],
        task=json.loads(row["task"]),
        picture_uuid=row["picture_uuid"],
        input_uuid=row["input_uuid"],
        warnings=tuple(json.loads(row["warnings"])),
        webhook=_WEBHOOK.validate_json(row["webhook"]),
        failure=_FAILURE.validate_json(row["failure"]),
        uploading=uploading,
    )
