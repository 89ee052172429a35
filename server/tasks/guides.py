"""Finished preprocessing tasks, kept for as long as their guides, so that getResponse finds them again.

They never wait in the queue: one row is all that such a task leaves. Knows rows and answers, not how guides are made.
"""

import json
import sqlite3
import time
from dataclasses import dataclass

from server.api.client import Client
from server.api.runware.responses import Answer, Item
from server.api.runware.results import media_item
from server.database import Database
from server.errors import ConflictTaskUUID, NotFound
from server.media.store import MediaStore

SCHEMA = """
CREATE TABLE IF NOT EXISTS guides (
    owner TEXT NOT NULL,
    task_uuid TEXT NOT NULL,
    task_type TEXT NOT NULL,
    told_uuid TEXT NOT NULL,
    guide_uuid TEXT NOT NULL,
    input_uuid TEXT NOT NULL,
    output_type TEXT NOT NULL,
    include_cost INTEGER NOT NULL,
    warnings TEXT NOT NULL,
    expires REAL NOT NULL,
    PRIMARY KEY (owner, task_uuid)
);
"""


@dataclass(frozen=True, slots=True)
class GuideTask:
    """A task that is done, and the pictures it began and ended with. `expires` is in seconds since the epoch."""

    owner: str
    task_type: str
    task_uuid: str
    guide_uuid: str
    input_uuid: str
    output_type: str
    include_cost: bool
    warnings: tuple[str, ...]
    expires: float


class GuideTasks:
    """The finished preprocessing tasks of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, task: GuideTask) -> None:
        """Keep a task; what has expired is forgotten. Raises `ConflictTaskUUID` when its owner has used the UUID."""

        def work(connection: sqlite3.Connection) -> bool:
            connection.execute("DELETE FROM guides WHERE expires <= ?", (time.time(),))
            row = (
                task.owner,
                task.task_uuid.lower(),
                task.task_type,
                task.task_uuid,
                task.guide_uuid,
                task.input_uuid,
                task.output_type,
                task.include_cost,
                json.dumps(task.warnings),
                task.expires,
            )
            query = "INSERT OR IGNORE INTO guides VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
            return connection.execute(query, row).rowcount == 1

        if not await self._database.run(work):
            raise ConflictTaskUUID

    async def find(self, owner: str, task_uuid: str) -> GuideTask | None:
        """The task of a UUID, letter case ignored, unless it has expired."""

        def work(connection: sqlite3.Connection) -> GuideTask | None:
            query = "SELECT * FROM guides WHERE owner = ? AND task_uuid = ? AND expires > ?"
            row = connection.execute(query, (owner, task_uuid.lower(), time.time())).fetchone()
            return _task(row) if row else None

        return await self._database.run(work)


async def guide_answer(task: GuideTask, media: MediaStore, client: Client, *, status: bool) -> Answer:
    """The guide in the form that the task asked for. Raises `NotFound` when it has been deleted."""
    guide = await media.get(task.guide_uuid, owner=task.owner)
    if guide is None:
        raise NotFound("The guide image has expired.", code="imageNotFound")
    item: Item = {"taskType": task.task_type, "taskUUID": task.task_uuid}
    if status:
        item["status"] = "success"
    item |= {"guideImageUUID": task.guide_uuid, "inputImageUUID": task.input_uuid}
    item |= await media_item("guideImage", guide, task.output_type, client.base_url)
    if task.include_cost:
        item["cost"] = 0.0
    return Answer(data=(item,), warnings=task.warnings)


def _task(row: sqlite3.Row) -> GuideTask:
    return GuideTask(
        owner=row["owner"],
        task_type=row["task_type"],
        task_uuid=row["told_uuid"],
        guide_uuid=row["guide_uuid"],
        input_uuid=row["input_uuid"],
        output_type=row["output_type"],
        include_cost=bool(row["include_cost"]),
        warnings=tuple(json.loads(row["warnings"])),
        expires=row["expires"],
    )
