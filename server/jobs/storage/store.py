"""The jobs of a data folder: what can be asked of them, and how they change.

Every change is one transaction, which is on disk when the call returns, so that an acknowledged task survives the
process. Knows no worker and no wire format.
"""

import json
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from pipelines.request import RenderRequest
from server.database import Database
from server.delivery import uploads
from server.delivery.outbox import add_delivery, uploads_wait
from server.errors import Failure, InferenceError
from server.jobs.job import CANCELLED, Job, Result, State, Submission
from server.jobs.policy.fair_share import Waiting
from server.jobs.storage.job_deliveries import JobDeliveries
from server.jobs.storage.job_table import JobTable, TaskIdClaims, tell_result
from server.jobs.storage.rows import hold_end, insert_result, read_job, read_request, read_result
from server.jobs.storage.unprepared import PREPARED, UnpreparedJobs
from server.keys.usage import count_image

T = TypeVar("T")

# The running jobs that a worker has not ended. The others wait for uploads, and need no worker.
_RENDERING = "state = 'running' AND held_end IS NULL"
# A job that is running when the process is killed runs once more at the next start.
MAX_ATTEMPTS = 2
ENDS_THE_SERVER = Failure(
    "inferenceError",
    f"The server was killed {MAX_ATTEMPTS} times while it drew this task, so it is not tried again.",
    InferenceError.status,
)

Choose = Callable[[Sequence[Waiting]], Waiting | None]
Beside = Callable[[Waiting], Sequence[int]]  # the jobs that a chosen one waits for at its worker
Fits = Callable[[Waiting, RenderRequest], bool]  # whether a chosen one may join them


def first_come(waiting: Sequence[Waiting]) -> Waiting | None:
    """The job that has waited longest."""
    return waiting[0] if waiting else None


def _nothing(chosen: Waiting) -> Sequence[int]:
    return ()


def _always(chosen: Waiting, request: RenderRequest) -> bool:
    return True


class JobStore:
    """The jobs of one data folder. `wake` is called when there may be something to deliver."""

    def __init__(self, database: Database, ids: TaskIdClaims, wake: Callable[[], None] = lambda: None) -> None:
        self._database = database
        self._table = JobTable(ids)
        self._wake = wake
        self.unprepared = UnpreparedJobs(database, self._table)
        self.deliveries = JobDeliveries(database, self._table, wake)

    async def accept(self, submission: Submission, *, estimate: float = 0.0) -> Job:
        """Put a job on disk, queued. `estimate` are the seconds that it is expected to take.

        A job of the same id that failed or was cancelled is deleted, so that the client's retry runs. Raises
        `ConflictTaskUUID` when its id is taken.
        """

        def work(connection: sqlite3.Connection) -> Job:
            return read_job(connection, self._table.add(connection, submission, estimate))

        return await self._database.run(work)

    async def find(self, owner: str, task_uuid: str) -> Job | None:
        """The job of a task with its results so far, or None."""
        return await self._database.run(lambda connection: self._table.find(connection, owner, task_uuid))

    async def result(self, image_uuid: str) -> Result | None:
        """The result of an image, of any owner; None when there is no such image."""

        def work(connection: sqlite3.Connection) -> Result | None:
            return read_result(connection, image_uuid.lower())

        return await self._database.run(work)

    async def claim(self, choose: Choose = first_come, beside: Beside = _nothing, fits: Fits = _always) -> Job | None:
        """Set the job that is chosen among the waiting ones to running, and count the attempt. None without one.

        One that does not fit is not claimed, nor is one of another model than the jobs `beside` it: its weights have no
        place beside theirs. It may wait for them at its worker, so its attempt and its start count from `begin` on. A
        job whose row cannot be read fails, and is returned so that its end can be announced.
        """

        def work(connection: sqlite3.Connection) -> Job | None:
            chosen = choose(_waiting(connection, PREPARED))
            if chosen is None:
                return None
            request = read_request(connection, chosen.job_id)
            if request is not None and not fits(chosen, request):
                return None
            others = beside(chosen)
            if others and len(_models(connection, (chosen.job_id, *others))) > 1:
                return None
            query = "UPDATE jobs SET state = 'running', started = max(created, ?), attempts = attempts + ? WHERE id = ?"
            connection.execute(query, (time.time(), 0 if others else 1, chosen.job_id))
            return self._table.read(connection, chosen.job_id)

        return await self._database.run(work)

    async def begin(self, job_id: int) -> Job:
        """Count the attempt of a job that was claimed beside others: it has begun now."""

        def work(connection: sqlite3.Connection) -> Job:
            query = "UPDATE jobs SET started = max(created, ?), attempts = attempts + 1 WHERE id = ?"
            connection.execute(query, (time.time(), job_id))
            return self._table.read(connection, job_id)

        return await self._database.run(work)

    async def waiting(self, *, prepared: bool = False) -> tuple[Waiting, ...]:
        """The jobs that wait, in the order of their acceptance: all, or those that a worker may take."""
        return await self._database.run(lambda connection: _waiting(connection, PREPARED if prepared else "TRUE"))

    async def accepted_since(self, owner: str, since: float) -> tuple[float, ...]:
        """When the jobs of an owner were accepted, since a time. Times are seconds since the epoch."""

        def work(connection: sqlite3.Connection) -> tuple[float, ...]:
            query = "SELECT created FROM jobs WHERE owner = ? AND created > ?"
            return tuple(row["created"] for row in connection.execute(query, (owner, since)))

        return await self._database.run(work)

    async def put_back(self, job_id: int, estimate: float) -> None:
        """Let a running job wait again for the images that it does not have: that is no attempt.

        `estimate` are the seconds that those are expected to take.
        """

        def work(connection: sqlite3.Connection) -> None:
            query = "UPDATE jobs SET state = 'queued', attempts = max(0, attempts - 1), estimate = ? WHERE id = ?"
            connection.execute(query, (estimate, job_id))

        await self._database.run(work)

    async def try_again(self, job_id: int) -> bool:
        """Let a running job wait again whose worker has died: that was an attempt. False after `MAX_ATTEMPTS`."""

        def work(connection: sqlite3.Connection) -> bool:
            query = "UPDATE jobs SET state = 'queued', attempts = max(1, attempts) WHERE id = ? AND attempts < ?"
            return bool(connection.execute(query, (job_id, MAX_ATTEMPTS)).rowcount)

        return await self._database.run(work)

    async def models(self, job_ids: Sequence[int]) -> tuple[str, ...]:
        """The models of jobs, each once."""

        return await self._database.run(lambda connection: _models(connection, job_ids))

    async def add_result(self, job_id: int, result: Result, warnings: Sequence[str]) -> Job:
        """Add the result of an image, and the warnings that the job does not have. Earlier attempts do not count.

        The image counts for its owner. What is due for it is put into the outbox: its upload, or without one its
        webhook.
        """

        def work(connection: sqlite3.Connection) -> Job:
            insert_result(connection, job_id, result)
            connection.execute("UPDATE jobs SET attempts = 1 WHERE id = ?", (job_id,))
            row = connection.execute("SELECT warnings FROM jobs WHERE id = ?", (job_id,)).fetchone()
            known = json.loads(row["warnings"])
            if added := [warning for warning in warnings if warning not in known]:
                connection.execute("UPDATE jobs SET warnings = ? WHERE id = ?", (json.dumps(known + added), job_id))
            job = self._table.read(connection, job_id)
            count_image(connection, job.submission.owner, time.time())
            if upload := job.submission.upload:
                add_delivery(connection, job_id, "upload", result.index, upload.url, uploads.DELAYS)
            else:
                tell_result(connection, job, result)
            return job

        return await self._deliver(work)

    async def end(self, job_id: int, state: State, failure: Failure | None = None) -> Job:
        """Set a job to done, failed or cancelled. While results are uploaded it runs on, and ends with the last."""

        def work(connection: sqlite3.Connection) -> Job:
            if self._table.read(connection, job_id).submission.upload and uploads_wait(connection, job_id):
                hold_end(connection, job_id, state, failure)
                return self._table.read(connection, job_id)
            return self._table.end(connection, job_id, state, failure)

        return await self._deliver(work)

    async def accept_failed(self, submission: Submission, failure: Failure) -> Job:
        """Put a job on disk that has failed already, so that a client which polls for it learns why.

        Raises `ConflictTaskUUID` when its id is taken.
        """

        def work(connection: sqlite3.Connection) -> Job:
            return self._table.end(connection, self._table.add(connection, submission), "failed", failure)

        return await self._deliver(work)

    async def end_queued(
        self, owner: str, task_uuid: str, failure: Failure = CANCELLED, state: State = "cancelled"
    ) -> Job | None:
        """Cancel a job that waits, or let it fail, for a reason that is kept. None when it does not wait."""

        def work(connection: sqlite3.Connection) -> Job | None:
            query = "SELECT id FROM jobs WHERE owner = ? AND task_uuid = ? AND state = 'queued'"
            row = connection.execute(query, (owner, task_uuid)).fetchone()
            return self._table.end(connection, row["id"], state, failure) if row else None

        return await self._deliver(work)

    async def fail_queued(self, failure: Failure) -> list[Job]:
        """Fail all jobs that wait, and return them."""

        def work(connection: sqlite3.Connection) -> list[Job]:
            rows = connection.execute("SELECT id FROM jobs WHERE state = 'queued'").fetchall()
            return [self._table.end(connection, row["id"], "failed", failure) for row in rows]

        return await self._deliver(work)

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
            query = f"SELECT id FROM jobs WHERE {_RENDERING} AND attempts >= ?"
            given_up = connection.execute(query, (MAX_ATTEMPTS,)).fetchall()
            for row in given_up:
                self._table.end(connection, row["id"], "failed", ENDS_THE_SERVER)
            queued = connection.execute(f"UPDATE jobs SET state = 'queued' WHERE {_RENDERING}").rowcount
            return queued, len(given_up)

        return await self._deliver(work)

    async def put_back_all(self) -> None:
        """Queue the running jobs again because the server stops in order: that is no attempt."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(f"UPDATE jobs SET state = 'queued', attempts = max(0, attempts - 1) WHERE {_RENDERING}")

        await self._database.run(work)

    async def forget(self, finished_before: float) -> int:
        """Delete the jobs that ended before a time, in seconds since the epoch, and their ids. Returns how many."""
        return await self._database.run(lambda connection: self._table.delete_ended(connection, finished_before))

    async def _deliver(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a change that may add to the outbox."""
        done = await self._database.run(work)
        self._wake()
        return done


def _waiting(connection: sqlite3.Connection, condition: str) -> tuple[Waiting, ...]:
    columns = "id, owner, estimate, attempts > 0, priority = 'low'"
    query = f"SELECT {columns} FROM jobs WHERE state = 'queued' AND {condition} ORDER BY id"
    return tuple(Waiting(*row[:3], *map(bool, row[3:])) for row in map(tuple, connection.execute(query)))


def _models(connection: sqlite3.Connection, job_ids: Sequence[int]) -> tuple[str, ...]:
    marks = ", ".join("?" * len(job_ids))
    query = f"SELECT DISTINCT lower(json_extract(request, '$.model')) FROM jobs WHERE id IN ({marks})"
    return tuple(row[0] for row in connection.execute(query, job_ids))
