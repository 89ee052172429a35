"""The jobs of a data folder: what can be asked of them, and how they change.

Every change is one transaction, which is on disk when the call returns, so that an acknowledged task survives the
process. Knows no worker and no wire format.
"""

import json
import sqlite3
import time
from collections.abc import Sequence
from typing import Protocol

from server.database import Database
from server.errors import Failure, RateLimitExceeded
from server.jobs.job import CANCELLED, Job, Result, State, Submission
from server.jobs.rows import failure_text, insert_job, insert_result, read_job, read_result


class TaskIdClaims(Protocol):
    """What the store asks of the table of task ids, within its own transactions."""

    def claim(self, connection: sqlite3.Connection, owner: str, task_id: str) -> None:
        """Take an id. Raises `ConflictTaskUUID`."""
        ...

    def release(self, connection: sqlite3.Connection, owner: str, task_id: str) -> None:
        """Let the id of a failed job be claimed again."""
        ...

    def forget(self, connection: sqlite3.Connection, owner: str, task_id: str) -> None:
        """Delete the id of a deleted job."""
        ...


class JobStore:
    """The jobs of one data folder."""

    def __init__(self, database: Database, ids: TaskIdClaims) -> None:
        self._database = database
        self._ids = ids

    async def accept(self, submission: Submission, *, limit: int) -> Job:
        """Put a job on disk, queued.

        Raises `ConflictTaskUUID` when its id is taken, and `RateLimitExceeded` when `limit` jobs wait already. A job
        of the same id that failed or was cancelled is deleted, so that the client's retry runs.
        """

        def work(connection: sqlite3.Connection) -> Job:
            self._ids.claim(connection, *submission.key)
            waiting = connection.execute("SELECT COUNT(*) FROM jobs WHERE state = 'queued'").fetchone()[0]
            if waiting >= limit:
                raise RateLimitExceeded(f"The queue is full: {waiting} tasks wait. Try again later.")
            connection.execute("DELETE FROM jobs WHERE owner = ? AND task_uuid = ?", submission.key)
            return read_job(connection, insert_job(connection, submission, time.time()))

        return await self._database.run(work)

    async def find(self, owner: str, task_uuid: str) -> Job | None:
        """The job of a task with its results so far, or None."""

        def work(connection: sqlite3.Connection) -> Job | None:
            query = "SELECT id FROM jobs WHERE owner = ? AND task_uuid = ?"
            row = connection.execute(query, (owner, task_uuid)).fetchone()
            return read_job(connection, row["id"]) if row else None

        return await self._database.run(work)

    async def result(self, image_uuid: str) -> Result | None:
        """The result of an image, of any owner; None when there is no such image."""

        def work(connection: sqlite3.Connection) -> Result | None:
            return read_result(connection, image_uuid.lower())

        return await self._database.run(work)

    async def claim(self) -> Job | None:
        """Set the job that has waited longest to running. None when no job waits."""

        def work(connection: sqlite3.Connection) -> Job | None:
            row = connection.execute(
                "UPDATE jobs SET state = 'running', started = ? WHERE id = "
                "(SELECT id FROM jobs WHERE state = 'queued' ORDER BY id LIMIT 1) RETURNING id",
                (time.time(),),
            ).fetchone()
            return read_job(connection, row["id"]) if row else None

        return await self._database.run(work)

    async def add_result(self, job_id: int, result: Result, warnings: Sequence[str]) -> Job:
        """Add the result of an image, and the warnings that the job does not have yet."""

        def work(connection: sqlite3.Connection) -> Job:
            insert_result(connection, job_id, result)
            row = connection.execute("SELECT warnings FROM jobs WHERE id = ?", (job_id,)).fetchone()
            known = json.loads(row["warnings"])
            if added := [warning for warning in warnings if warning not in known]:
                connection.execute("UPDATE jobs SET warnings = ? WHERE id = ?", (json.dumps(known + added), job_id))
            return read_job(connection, job_id)

        return await self._database.run(work)

    async def end(self, job_id: int, state: State, failure: Failure | None = None) -> Job:
        """Set a job to done, failed or cancelled."""

        def work(connection: sqlite3.Connection) -> Job:
            connection.execute(
                "UPDATE jobs SET state = ?, finished = ?, failure = ? WHERE id = ?",
                (state, time.time(), failure_text(failure), job_id),
            )
            job = read_job(connection, job_id)
            if state != "done":
                self._ids.release(connection, *job.submission.key)
            return job

        return await self._database.run(work)

    async def cancel_queued(self, owner: str, task_uuid: str) -> Job | None:
        """Cancel a job that waits. None when it does not wait."""

        def work(connection: sqlite3.Connection) -> Job | None:
            row = connection.execute(
                "UPDATE jobs SET state = 'cancelled', finished = ?, failure = ? "
                "WHERE owner = ? AND task_uuid = ? AND state = 'queued' RETURNING id",
                (time.time(), failure_text(CANCELLED), owner, task_uuid),
            ).fetchone()
            if row is None:
                return None
            self._ids.release(connection, owner, task_uuid)
            return read_job(connection, row["id"])

        return await self._database.run(work)

    async def count_queued(self) -> int:
        """How many jobs wait."""

        def work(connection: sqlite3.Connection) -> int:
            return connection.execute("SELECT count(*) FROM jobs WHERE state = 'queued'").fetchone()[0]

        return await self._database.run(work)

    async def requeue_interrupted(self) -> int:
        """Queue the jobs again that an earlier process left running. They keep their results. Returns how many."""

        def work(connection: sqlite3.Connection) -> int:
            return connection.execute("UPDATE jobs SET state = 'queued' WHERE state = 'running'").rowcount

        return await self._database.run(work)

    async def forget(self, finished_before: float) -> int:
        """Delete the jobs that ended before a time, in seconds since the epoch, and their ids. Returns how many."""

        def work(connection: sqlite3.Connection) -> int:
            query = "DELETE FROM jobs WHERE finished < ? RETURNING owner, task_uuid"
            deleted = connection.execute(query, (finished_before,)).fetchall()
            for row in deleted:
                self._ids.forget(connection, row["owner"], row["task_uuid"])
            return len(deleted)

        return await self._database.run(work)

    async def usage(self, owner: str, since: float) -> int:
        """How many images of an owner's jobs since a time are finished. The time is in seconds since the epoch."""

        def work(connection: sqlite3.Connection) -> int:
            query = "SELECT COUNT(*) FROM results JOIN jobs ON jobs.id = job_id WHERE owner = ? AND created >= ?"
            return connection.execute(query, (owner, since)).fetchone()[0]

        return await self._database.run(work)
