"""Jobs on disk: one row each, and one for each image.

Every change is one transaction, durable when the call returns, so that an acknowledged task survives the process.
Knows no worker and no wire format.
"""

import json
import sqlite3
import time
from collections.abc import Sequence
from typing import Any, Protocol

from pydantic import TypeAdapter

from accel.cache.report import CacheReport
from pipelines.request import RenderRequest
from server.database import Database
from server.errors import Failure, RateLimitExceeded
from server.jobs.job import CANCELLED, Job, Result, State, Submission
from server.media.encode import Encoding

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    id INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    task_uuid TEXT NOT NULL COLLATE NOCASE,
    state TEXT NOT NULL DEFAULT 'queued',
    task TEXT NOT NULL,
    request TEXT NOT NULL,
    encoding TEXT NOT NULL,
    image_uuids TEXT NOT NULL,
    ttl INTEGER NOT NULL,
    warnings TEXT NOT NULL,
    created REAL NOT NULL,
    started REAL,
    finished REAL,
    failure TEXT,
    UNIQUE (owner, task_uuid)
);
CREATE INDEX IF NOT EXISTS jobs_by_state ON jobs (state, id);
CREATE TABLE IF NOT EXISTS results (
    job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    image_uuid TEXT NOT NULL,
    seed INTEGER NOT NULL,
    seconds REAL NOT NULL,
    PRIMARY KEY (job_id, position)
);
CREATE INDEX IF NOT EXISTS results_by_image ON results (image_uuid);
CREATE TABLE IF NOT EXISTS receipts (
    image_uuid TEXT PRIMARY KEY,
    job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    receipt TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS receipts_by_job ON receipts (job_id);
CREATE TABLE IF NOT EXISTS cache_reports (
    image_uuid TEXT PRIMARY KEY,
    job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    report TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS cache_reports_by_job ON cache_reports (job_id);
"""

_RESULTS = (
    "SELECT position, image_uuid, seed, seconds, receipt, report FROM results JOIN receipts USING (image_uuid) "
    "LEFT JOIN cache_reports USING (image_uuid) "
)
_REPORT = TypeAdapter(CacheReport)
_REQUEST = TypeAdapter(RenderRequest)
_ENCODING = TypeAdapter(Encoding)
_FAILURE = TypeAdapter(Failure)


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
            return _accept(connection, submission, limit)

        return await self._database.run(work)

    async def find(self, owner: str, task_uuid: str) -> Job | None:
        """The job of a task, with the results it has so far."""

        def work(connection: sqlite3.Connection) -> Job | None:
            query = "SELECT * FROM jobs WHERE owner = ? AND task_uuid = ?"
            row = connection.execute(query, (owner, task_uuid)).fetchone()
            return _job(connection, row) if row else None

        return await self._database.run(work)

    async def result(self, image_uuid: str) -> Result | None:
        """An image by its UUID, whosever it is."""

        def work(connection: sqlite3.Connection) -> Result | None:
            row = connection.execute(_RESULTS + "WHERE image_uuid = ?", (image_uuid.lower(),)).fetchone()
            return _result(row) if row else None

        return await self._database.run(work)

    async def claim(self) -> Job | None:
        """Take the job that has waited longest, and call it running."""

        def work(connection: sqlite3.Connection) -> Job | None:
            row = connection.execute(
                "UPDATE jobs SET state = 'running', started = ? WHERE id = "
                "(SELECT id FROM jobs WHERE state = 'queued' ORDER BY id LIMIT 1) RETURNING *",
                (time.time(),),
            ).fetchone()
            return _job(connection, row) if row else None

        return await self._database.run(work)

    async def add_result(self, job_id: int, result: Result, warnings: Sequence[str]) -> Job:
        """Add a finished image and the worker's warnings."""

        def work(connection: sqlite3.Connection) -> Job:
            connection.execute(
                "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?)",
                (job_id, result.index, result.image_uuid, result.seed, result.seconds),
            )
            connection.execute(
                "INSERT OR REPLACE INTO receipts VALUES (?, ?, ?)", (result.image_uuid, job_id, result.receipt)
            )
            if result.cache is not None:
                report = _REPORT.dump_json(result.cache).decode()
                connection.execute(
                    "INSERT OR REPLACE INTO cache_reports VALUES (?, ?, ?)", (result.image_uuid, job_id, report)
                )
            row = connection.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
            known = json.loads(row["warnings"])
            if added := [warning for warning in warnings if warning not in known]:
                connection.execute("UPDATE jobs SET warnings = ? WHERE id = ?", (json.dumps(known + added), job_id))
            return _by_id(connection, job_id)

        return await self._database.run(work)

    async def end(self, job_id: int, state: State, failure: Failure | None = None) -> Job:
        """Close a job as done, failed or cancelled."""

        def work(connection: sqlite3.Connection) -> Job:
            connection.execute(
                "UPDATE jobs SET state = ?, finished = ?, failure = ? WHERE id = ?",
                (state, time.time(), _failure_text(failure), job_id),
            )
            job = _by_id(connection, job_id)
            if state != "done":
                self._ids.release(connection, *job.submission.key)
            return job

        return await self._database.run(work)

    async def cancel_queued(self, owner: str, task_uuid: str) -> Job | None:
        """Cancel a job that still waits; None when it does not."""

        def work(connection: sqlite3.Connection) -> Job | None:
            row = connection.execute(
                "UPDATE jobs SET state = 'cancelled', finished = ?, failure = ? "
                "WHERE owner = ? AND task_uuid = ? AND state = 'queued' RETURNING *",
                (time.time(), _failure_text(CANCELLED), owner, task_uuid),
            ).fetchone()
            if row is None:
                return None
            self._ids.release(connection, owner, task_uuid)
            return _job(connection, row)

        return await self._database.run(work)

    async def count_queued(self) -> int:
        """How many jobs wait."""

        def work(connection: sqlite3.Connection) -> int:
            return connection.execute("SELECT count(*) FROM jobs WHERE state = 'queued'").fetchone()[0]

        return await self._database.run(work)

    async def requeue_interrupted(self) -> int:
        """Queue again what a process that ended left running; images it finished are kept."""

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
        """How many images the owner has had drawn since a time."""

        def work(connection: sqlite3.Connection) -> int:
            query = "SELECT COUNT(*) FROM results JOIN jobs ON jobs.id = job_id WHERE owner = ? AND created >= ?"
            return connection.execute(query, (owner, since)).fetchone()[0]

        return await self._database.run(work)


def _accept(connection: sqlite3.Connection, submission: Submission, limit: int) -> Job:
    waiting = connection.execute("SELECT COUNT(*) FROM jobs WHERE state = 'queued'").fetchone()[0]
    if waiting >= limit:
        raise RateLimitExceeded(f"The queue is full: {waiting} tasks wait. Try again later.")
    connection.execute("DELETE FROM jobs WHERE owner = ? AND task_uuid = ?", submission.key)
    row = connection.execute(
        "INSERT INTO jobs (owner, task_uuid, task, request, encoding, image_uuids, ttl, warnings, created) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING *",
        (
            *submission.key,
            json.dumps(submission.task),
            _REQUEST.dump_json(submission.request, by_alias=True).decode(),
            _ENCODING.dump_json(submission.encoding).decode(),
            json.dumps(submission.image_uuids),
            submission.ttl,
            json.dumps(submission.warnings),
            time.time(),
        ),
    ).fetchone()
    return _job(connection, row)


def _failure_text(failure: Failure | None) -> str | None:
    return _FAILURE.dump_json(failure).decode() if failure else None


def _failure(text: str | None) -> Failure | None:
    """A failure as it was kept. Rows before version 0.2 are lists, without a status and with the wire's own path."""
    if text is None:
        return None
    if not text.startswith("["):
        return _FAILURE.validate_json(text)
    code, message, path = json.loads(text)
    status = {"modelNotReady": 503, "invalidModel": 400}.get(code, 500)
    return Failure(code, message, status, path)


def _result(row: sqlite3.Row) -> Result:
    *fields, report = row
    return Result(*fields, cache=None if report is None else _REPORT.validate_json(report))


def _by_id(connection: sqlite3.Connection, job_id: int) -> Job:
    return _job(connection, connection.execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone())


def _job(connection: sqlite3.Connection, row: sqlite3.Row) -> Job:
    query = _RESULTS + "WHERE results.job_id = ? ORDER BY position"
    task: dict[str, Any] = json.loads(row["task"])
    submission = Submission(
        owner=row["owner"],
        task_uuid=task.get("taskUUID", row["task_uuid"]),
        task=task,
        request=_REQUEST.validate_json(row["request"]),
        encoding=_ENCODING.validate_json(row["encoding"]),
        image_uuids=tuple(json.loads(row["image_uuids"])),
        ttl=row["ttl"],
        warnings=tuple(json.loads(row["warnings"])),
    )
    return Job(
        id=row["id"],
        submission=submission,
        state=row["state"],
        created=row["created"],
        started=row["started"],
        finished=row["finished"],
        failure=_failure(row["failure"]),
        results=tuple(_result(found) for found in connection.execute(query, (row["id"],))),
    )
