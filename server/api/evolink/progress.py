"""The progress that clients are told. It never falls: not when a task starts again, and not by a restart.

It is on disk before a client is told of it.
"""

import sqlite3

from server.database import Database
from server.jobs.job import Job
from server.jobs.queue import JobQueue

SCHEMA = """
CREATE TABLE IF NOT EXISTS evolink_progress (
    owner TEXT NOT NULL,
    task_id TEXT NOT NULL,
    percent INTEGER NOT NULL,
    PRIMARY KEY (owner, task_id),
    FOREIGN KEY (owner, task_id) REFERENCES task_ids ON DELETE CASCADE
);
"""
# A task that has been deleted meanwhile is not kept.
_KEEP = (
    "INSERT INTO evolink_progress SELECT owner, task_id, ? FROM task_ids WHERE owner = ? AND task_id = ? "
    "ON CONFLICT DO UPDATE SET percent = excluded.percent"
)


class ToldProgress:
    """The most that was told of each task."""

    def __init__(self, database: Database, queue: JobQueue) -> None:
        self._database = database
        self._queue = queue

    async def of(self, *jobs: Job) -> list[int]:
        """The progress of each job in percent, at least what was told before."""
        reached = [self._queue.progress(job) for job in jobs]

        def look(connection: sqlite3.Connection) -> list[int]:
            return [_told(connection, job) for job in jobs]

        def raise_told(connection: sqlite3.Connection) -> list[int]:
            return [_raise_to(connection, job, percent) for job, percent in zip(jobs, reached, strict=True)]

        told = await self._database.read(look)
        if any(_is_news(job, percent, before) for job, percent, before in zip(jobs, reached, told, strict=True)):
            return await self._database.run(raise_told)
        return [max(both) for both in zip(reached, told, strict=True)]


def _is_news(job: Job, percent: int, told: int) -> bool:
    return percent > told and not job.ended


def _told(connection: sqlite3.Connection, job: Job) -> int:
    query = "SELECT percent FROM evolink_progress WHERE owner = ? AND task_id = ?"
    row = connection.execute(query, job.submission.key).fetchone()
    return row["percent"] if row else 0


def _raise_to(connection: sqlite3.Connection, job: Job, percent: int) -> int:
    """Raise what was told of a job to a percentage. Returns what is told now."""
    told = _told(connection, job)
    if _is_news(job, percent, told):
        connection.execute(_KEEP, (percent, *job.submission.key))
    return max(told, percent)
