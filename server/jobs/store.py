"""The jobs of a data folder: what can be asked of them, and how they change.

Every change is one transaction, which is on disk when the call returns, so that an acknowledged task survives the
process. Knows no worker and no wire format.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import structlog

from server.database import Database
from server.errors import Failure, InferenceError
from server.jobs.job import CANCELLED, Job, Result, State, Submission
from server.jobs.policy.fair_share import Waiting
from server.jobs.rows import (
    UnreadableJob,
    failure_text,
    insert_job,
    insert_result,
    read_job,
    read_result,
    repair_job,
)

log = structlog.get_logger()

# The clock of the system may be set back. No time of a job is before an earlier one.
FINISHED = "max(created, coalesce(started, created), ?)"

# A job that is running when the process is killed runs once more at the next start.
MAX_ATTEMPTS = 2
ENDS_THE_SERVER = Failure(
    "inferenceError",
    f"The server was killed {MAX_ATTEMPTS} times while it drew this task, so it is not tried again.",
    InferenceError.status,
)


class TaskIdClaims(Protocol):
    """The part of the table of task ids that the store uses, within its own transactions."""

    def claim(self, connection: sqlite3.Connection, owner: str, task_id: str) -> None:
        """Take an id. Raises `ConflictTaskUUID`."""
        ...

    def release(self, connection: sqlite3.Connection, owner: str, task_id: str) -> None:
        """Let the id of a failed job be claimed again."""
        ...

    def forget(self, connection: sqlite3.Connection, owner: str, task_id: str) -> None:
        """Delete the id of a deleted job."""
        ...


Choose = Callable[[Sequence[Waiting]], Waiting | None]


def first_come(waiting: Sequence[Waiting]) -> Waiting | None:
    """The job that has waited longest."""
    return waiting[0] if waiting else None


class JobStore:
    """The jobs of one data folder."""

    def __init__(self, database: Database, ids: TaskIdClaims) -> None:
        self._database = database
        self._ids = ids

    async def accept(self, submission: Submission, *, estimate: float = 0.0) -> Job:
        """Put a job on disk, queued. `estimate` are the seconds that it is expected to take.

        Raises `ConflictTaskUUID` when its id is taken. A job
        of the same id that failed or was cancelled is deleted, so that the client's retry runs.
        """

        def work(connection: sqlite3.Connection) -> Job:
            self._ids.claim(connection, *submission.key)
            connection.execute("DELETE FROM jobs WHERE owner = ? AND task_uuid = ?", submission.key)
            return read_job(connection, insert_job(connection, submission, time.time(), estimate))

        return await self._database.run(work)

    async def find(self, owner: str, task_uuid: str) -> Job | None:
        """The job of a task with its results so far, or None."""

        def work(connection: sqlite3.Connection) -> Job | None:
            query = "SELECT id FROM jobs WHERE owner = ? AND task_uuid = ?"
            row = connection.execute(query, (owner, task_uuid)).fetchone()
            return self.read(connection, row["id"]) if row else None

        return await self._database.run(work)

    async def result(self, image_uuid: str) -> Result | None:
        """The result of an image, of any owner; None when there is no such image."""

        def work(connection: sqlite3.Connection) -> Result | None:
            return read_result(connection, image_uuid.lower())

        return await self._database.run(work)

    async def claim(self, choose: Choose = first_come) -> Job | None:
        """Set the job that is chosen among the waiting ones to running, and count the attempt. None without one.

        A job whose row cannot be read fails, and is returned so that its end can be announced.
        """

        def work(connection: sqlite3.Connection) -> Job | None:
            chosen = choose(_waiting(connection))
            if chosen is None:
                return None
            query = "UPDATE jobs SET state = 'running', started = max(created, ?), attempts = attempts + 1 WHERE id = ?"
            connection.execute(query, (time.time(), chosen.job_id))
            return self.read(connection, chosen.job_id)

        return await self._database.run(work)

    async def waiting(self) -> tuple[Waiting, ...]:
        """The jobs that wait, in the order of their acceptance."""
        return await self._database.run(_waiting)

    async def accepted_since(self, owner: str, since: float) -> tuple[float, ...]:
        """When the jobs of an owner were accepted, since a time. Times are seconds since the epoch."""

        def work(connection: sqlite3.Connection) -> tuple[float, ...]:
            query = "SELECT created FROM jobs WHERE owner = ? AND created > ?"
            return tuple(row["created"] for row in connection.execute(query, (owner, since)))

        return await self._database.run(work)

    async def add_result(self, job_id: int, result: Result, warnings: Sequence[str]) -> Job:
        """Add the result of an image, and the warnings that the job does not have. Earlier attempts do not count."""

        def work(connection: sqlite3.Connection) -> Job:
            insert_result(connection, job_id, result)
            connection.execute("UPDATE jobs SET attempts = 1 WHERE id = ?", (job_id,))
            row = connection.execute("SELECT warnings FROM jobs WHERE id = ?", (job_id,)).fetchone()
            known = json.loads(row["warnings"])
            if added := [warning for warning in warnings if warning not in known]:
                connection.execute("UPDATE jobs SET warnings = ? WHERE id = ?", (json.dumps(known + added), job_id))
            return self.read(connection, job_id)

        return await self._database.run(work)

    async def end(self, job_id: int, state: State, failure: Failure | None = None) -> Job:
        """Set a job to done, failed or cancelled."""

        return await self._database.run(lambda connection: self._end(connection, job_id, state, failure))

    async def accept_failed(self, submission: Submission, failure: Failure) -> Job:
        """Put a job on disk that has failed already, so that a client which polls for it learns why.

        Raises `ConflictTaskUUID` when its id is taken.
        """

        def work(connection: sqlite3.Connection) -> Job:
            self._ids.claim(connection, *submission.key)
            connection.execute("DELETE FROM jobs WHERE owner = ? AND task_uuid = ?", submission.key)
            return self._end(connection, insert_job(connection, submission, time.time()), "failed", failure)

        return await self._database.run(work)

    async def cancel_queued(self, owner: str, task_uuid: str, reason: Failure = CANCELLED) -> Job | None:
        """Cancel a job that waits, for a reason that its failure keeps. None when it does not wait."""

        def work(connection: sqlite3.Connection) -> Job | None:
            row = connection.execute(
                f"UPDATE jobs SET state = 'cancelled', finished = {FINISHED}, failure = ? "
                "WHERE owner = ? AND task_uuid = ? AND state = 'queued' RETURNING id",
                (time.time(), failure_text(reason), owner, task_uuid),
            ).fetchone()
            if row is None:
                return None
            self._ids.release(connection, owner, task_uuid)
            return self.read(connection, row["id"])

        return await self._database.run(work)

    async def fail_queued(self, failure: Failure) -> list[Job]:
        """Fail all jobs that wait, and return them."""

        def work(connection: sqlite3.Connection) -> list[Job]:
            rows = connection.execute(
                f"UPDATE jobs SET state = 'failed', finished = {FINISHED}, failure = ? "
                "WHERE state = 'queued' RETURNING id",
                (time.time(), failure_text(failure)),
            ).fetchall()
            jobs = [self.read(connection, row["id"]) for row in rows]
            for job in jobs:
                self._ids.release(connection, *job.submission.key)
            return jobs

        return await self._database.run(work)

    async def count_queued(self) -> int:
        """How many jobs wait."""

        def work(connection: sqlite3.Connection) -> int:
            return connection.execute("SELECT count(*) FROM jobs WHERE state = 'queued'").fetchone()[0]

        return await self._database.run(work)

    async def requeue_interrupted(self) -> tuple[int, int]:
        """Queue the jobs again that an earlier process left running. They keep their results.

        A job that was running at `MAX_ATTEMPTS` ends of the process without a new image has failed. Returns how many
        were queued, and how many failed.
        """

        def work(connection: sqlite3.Connection) -> tuple[int, int]:
            given_up = connection.execute(
                f"UPDATE jobs SET state = 'failed', finished = {FINISHED}, failure = ? "
                "WHERE state = 'running' AND attempts >= ? RETURNING owner, task_uuid",
                (time.time(), failure_text(ENDS_THE_SERVER), MAX_ATTEMPTS),
            ).fetchall()
            for row in given_up:
                self._ids.release(connection, row["owner"], row["task_uuid"].lower())
            queued = connection.execute("UPDATE jobs SET state = 'queued' WHERE state = 'running'").rowcount
            return queued, len(given_up)

        return await self._database.run(work)

    async def put_back(self) -> None:
        """Queue the running jobs again because the server stops in order: that is no attempt."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE jobs SET state = 'queued', attempts = attempts - 1 WHERE state = 'running'")

        await self._database.run(work)

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

    def _end(self, connection: sqlite3.Connection, job_id: int, state: State, failure: Failure | None) -> Job:
        connection.execute(
            f"UPDATE jobs SET state = ?, finished = {FINISHED}, failure = ? WHERE id = ?",
            (state, time.time(), failure_text(failure), job_id),
        )
        job = self.read(connection, job_id)
        if state != "done":
            self._ids.release(connection, *job.submission.key)
        return job

    def read(self, connection: sqlite3.Connection, job_id: int) -> Job:
        """A job, within a transaction. What cannot be read is replaced; an unended job has failed then."""
        try:
            return read_job(connection, job_id)
        except UnreadableJob as error:
            log.error("a stored task cannot be read", reason=str(error))
            job = repair_job(connection, job_id, time.time())
            if job.state == "failed":
                self._ids.release(connection, *job.submission.key)
            return job


def _waiting(connection: sqlite3.Connection) -> tuple[Waiting, ...]:
    query = "SELECT id, owner, estimate FROM jobs WHERE state = 'queued' ORDER BY id"
    return tuple(Waiting(row["id"], row["owner"], row["estimate"]) for row in connection.execute(query))
