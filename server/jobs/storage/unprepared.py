"""The jobs that were acknowledged before their pictures were fetched: they wait in the queue, and no worker takes them.

They are on disk with the spec of their task, so that a restart loses none. `spec` is a text for the module that wrote
it. Knows no picture, no worker and no wire format.
"""

import sqlite3

from server.database import Database
from server.jobs.job import Job, Submission
from server.jobs.storage.job_table import JobTable
from server.jobs.storage.rows import prepare_job

SCHEMA = """
CREATE TABLE IF NOT EXISTS unprepared_jobs (
    job_id INTEGER PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    spec TEXT NOT NULL
);
"""
# The condition of the jobs that a worker may take.
PREPARED = "id NOT IN (SELECT job_id FROM unprepared_jobs)"
_WAITING = "state = 'queued' AND NOT " + PREPARED


class UnpreparedJobs:
    """The unprepared jobs of one database. A part of `JobStore`."""

    def __init__(self, database: Database, table: JobTable) -> None:
        self._database = database
        self._table = table

    async def accept(self, submission: Submission, spec: str, *, estimate: float) -> Job:
        """Put a job on disk, as `JobStore.accept` does, that waits for `prepare`. Raises `ConflictTaskUUID`."""

        def work(connection: sqlite3.Connection) -> Job:
            job_id = self._table.add(connection, submission, estimate)
            connection.execute("INSERT INTO unprepared_jobs VALUES (?, ?)", (job_id, spec))
            return self._table.read(connection, job_id)

        return await self._database.run(work)

    async def prepare(self, submission: Submission, *, estimate: float) -> Job | None:
        """Let a worker take a job, with its request. None when it does not wait any more."""

        def work(connection: sqlite3.Connection) -> Job | None:
            query = f"SELECT id FROM jobs WHERE owner = ? AND task_uuid = ? AND {_WAITING}"
            if (row := connection.execute(query, submission.key).fetchone()) is None:
                return None
            prepare_job(connection, row["id"], submission, estimate)
            connection.execute("DELETE FROM unprepared_jobs WHERE job_id = ?", (row["id"],))
            return self._table.read(connection, row["id"])

        return await self._database.run(work)

    async def waiting(self) -> list[tuple[Job, str]]:
        """The jobs that are not prepared yet, with their specs."""

        def work(connection: sqlite3.Connection) -> list[tuple[Job, str]]:
            query = f"SELECT id, spec FROM jobs JOIN unprepared_jobs ON job_id = id WHERE {_WAITING} ORDER BY id"
            rows = connection.execute(query).fetchall()
            return [(self._table.read(connection, row["id"]), row["spec"]) for row in rows]

        return await self._database.run(work)

    async def spec(self, job: Job) -> str | None:
        """The spec of a job that ended before it was prepared. None for any other job."""

        def work(connection: sqlite3.Connection) -> str | None:
            row = connection.execute("SELECT spec FROM unprepared_jobs WHERE job_id = ?", (job.id,)).fetchone()
            return row["spec"] if row else None

        return await self._database.run(work)
