"""The rows of jobs with what belongs to them elsewhere: the id of the task, its images, and what its webhook is told.

Everything runs inside a transaction of the caller. Knows no worker and no wire format.
"""

import sqlite3
import time
from typing import Protocol

import structlog

from server.delivery.outbox import add_delivery
from server.errors import Failure
from server.jobs.job import Job, Result, State, Submission
from server.jobs.storage.rows import UnreadableJob, failure_text, insert_job, read_job, repair_job
from server.media.gallery import list_image

log = structlog.get_logger()

# The clock of the system may be set back. No time of a job is before an earlier one.
_FINISHED = "max(created, coalesce(started, created), ?)"


class TaskIdClaims(Protocol):
    """The part of the table of task ids that jobs use, within their own transactions."""

    def claim(self, connection: sqlite3.Connection, owner: str, task_id: str) -> None:
        """Take an id. Raises `ConflictTaskUUID`."""
        ...

    def release(self, connection: sqlite3.Connection, owner: str, task_id: str) -> None:
        """Let the id of a failed job be claimed again."""
        ...

    def forget(self, connection: sqlite3.Connection, owner: str, task_id: str) -> None:
        """Delete the id of a deleted job."""
        ...


class JobTable:
    """The jobs of one database."""

    def __init__(self, ids: TaskIdClaims) -> None:
        self._ids = ids

    def add(self, connection: sqlite3.Connection, submission: Submission, estimate: float = 0.0) -> int:
        """Add a queued job that takes about `estimate` seconds, and return the id of its row.

        A job of the same task id that failed or was cancelled is deleted, so that the client's retry runs. Raises
        `ConflictTaskUUID` when the task id is taken.
        """
        self._ids.claim(connection, *submission.key)
        connection.execute("DELETE FROM jobs WHERE owner = ? AND task_uuid = ?", submission.key)
        return insert_job(connection, submission, time.time(), estimate)

    def read(self, connection: sqlite3.Connection, job_id: int) -> Job:
        """A job. What cannot be read is replaced; an unended job has failed then."""
        try:
            return read_job(connection, job_id)
        except UnreadableJob as error:
            log.error("a stored task cannot be read", reason=str(error))
            had_ended = connection.execute("SELECT finished FROM jobs WHERE id = ?", (job_id,)).fetchone()[0]
            job = repair_job(connection, job_id, time.time())
            if job.state == "failed":
                self._ids.release(connection, *job.submission.key)
                if had_ended is None:
                    _tell_end(connection, job)
            return job

    def find(self, connection: sqlite3.Connection, owner: str, task_uuid: str) -> Job | None:
        """The job of a task with its results so far, or None."""
        query = "SELECT id FROM jobs WHERE owner = ? AND task_uuid = ?"
        row = connection.execute(query, (owner, task_uuid)).fetchone()
        return self.read(connection, row["id"]) if row else None

    def end(self, connection: sqlite3.Connection, job_id: int, state: State, failure: Failure | None) -> Job:
        """Set a job to done, failed or cancelled. Its webhook's notice is due then."""
        connection.execute(
            f"UPDATE jobs SET state = ?, finished = {_FINISHED}, failure = ?, held_end = NULL WHERE id = ?",
            (state, time.time(), failure_text(failure), job_id),
        )
        job = self.read(connection, job_id)
        if state != "done":
            self._ids.release(connection, *job.submission.key)
        _tell_end(connection, job)
        return self.read(connection, job_id) if job.submission.webhook else job

    def delete(self, connection: sqlite3.Connection, job: Job) -> None:
        """Delete a job and its task id."""
        connection.execute("DELETE FROM jobs WHERE id = ?", (job.id,))
        self._ids.forget(connection, *job.submission.key)

    def delete_ended(self, connection: sqlite3.Connection, before: float) -> int:
        """Delete the jobs that ended before a time, in seconds since the epoch, and their task ids."""
        query = "DELETE FROM jobs WHERE finished < ? RETURNING owner, task_uuid"
        deleted = connection.execute(query, (before,)).fetchall()
        for row in deleted:
            self._ids.forget(connection, row["owner"], row["task_uuid"])
        return len(deleted)


def tell_result(connection: sqlite3.Connection, job: Job, result: Result) -> None:
    """List an image for its owner, and put a webhook's notice into the outbox, if it is told of each result."""
    work = job.submission
    list_image(
        connection,
        result.image_uuid,
        owner=work.owner,
        task_uuid=work.task_uuid,
        model=work.request.model,
        prompt=work.request.prompt,
        seed=result.seed,
        unsafe=result.unsafe,
    )
    if work.webhook is not None and work.webhook.each_result:
        add_delivery(connection, job.id, "webhook", result.index, work.webhook.url, work.webhook.delays)


def _tell_end(connection: sqlite3.Connection, job: Job) -> None:
    """Put a webhook's notice of the end into the outbox. One that is told of each result hears of a failure only."""
    webhook = job.submission.webhook
    if webhook is not None and (job.failure is not None or not webhook.each_result):
        add_delivery(connection, job.id, "webhook", None, webhook.url, webhook.delays)
