"""Ends tasks that run longer than their sender allowed, and deletes those whose lifetime is over.

Shared by all dialects. The limits are on disk, so that they hold after a restart. Knows no wire format.
"""

import asyncio
import contextlib
import sqlite3
import time
from dataclasses import dataclass

import structlog

from server.database import Database
from server.errors import ApiError, Failure
from server.jobs.events import Key
from server.jobs.queue import JobQueue
from server.jobs.storage.history import JobHistory
from server.media.store import MediaStore

log = structlog.get_logger()

SCHEMA = """
CREATE TABLE IF NOT EXISTS task_deadlines (
    owner TEXT NOT NULL,
    task_id TEXT NOT NULL,
    run_seconds REAL,
    expires REAL,
    PRIMARY KEY (owner, task_id),
    FOREIGN KEY (owner, task_id) REFERENCES task_ids ON DELETE CASCADE
);
"""
TICK_SECONDS = 0.25  # much shorter than the shortest limit of a vendor, and nothing is read from disk
TIMED_OUT = Failure("taskTimedOut", "The task ran longer than its sender allowed.", 504)
EXPIRED = Failure("taskExpired", "The lifetime of the task, as its sender set it, is over.", 504)


@dataclass(frozen=True, slots=True)
class Limits:
    """How many seconds a task may run, and when it is deleted, in seconds since the epoch. None is without a limit."""

    run_seconds: float | None = None
    expires: float | None = None


class Deadlines:
    """The limits of the tasks of one server."""

    def __init__(self, database: Database, queue: JobQueue, history: JobHistory, media: MediaStore) -> None:
        self._database = database
        self._queue = queue
        self._history = history
        self._media = media
        self._limits: dict[Key, Limits] = {}
        self._ticking: asyncio.Task[None] | None = None
        self._ending: dict[Key, asyncio.Task[None]] = {}

    async def open(self) -> None:
        """Read the limits of an earlier process, and begin to keep them."""
        await self.sweep()
        self._ticking = asyncio.create_task(self._keep_ticking())

    async def close(self) -> None:
        """Stop. The limits stay on disk."""
        tasks = [task for task in (self._ticking, *self._ending.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def sweep(self) -> None:
        """Forget the limits that have no effect any more, because their task has ended."""

        def work(connection: sqlite3.Connection) -> dict[Key, Limits]:
            connection.execute(
                "DELETE FROM task_deadlines WHERE expires IS NULL AND EXISTS (SELECT 1 FROM jobs WHERE "
                "jobs.owner = task_deadlines.owner AND task_uuid = task_id AND finished IS NOT NULL)"
            )
            rows = connection.execute("SELECT * FROM task_deadlines").fetchall()
            return {(row["owner"], row["task_id"]): Limits(row["run_seconds"], row["expires"]) for row in rows}

        self._limits = await self._database.run(work)

    async def set(self, owner: str, task_id: str, limits: Limits) -> None:
        """Give an accepted task its limits, in the place of earlier ones."""
        key = owner, task_id.lower()

        def work(connection: sqlite3.Connection) -> None:
            query = "INSERT OR REPLACE INTO task_deadlines VALUES (?, ?, ?, ?)"
            connection.execute(query, (*key, limits.run_seconds, limits.expires))

        with contextlib.suppress(sqlite3.IntegrityError):  # the task has been deleted in the meantime
            await self._database.run(work)
            self._limits[key] = limits

    def limits(self, owner: str, task_id: str) -> Limits:
        """The limits of a task."""
        return self._limits.get((owner, task_id.lower()), Limits())

    def tick(self, now: float) -> None:
        """Begin to end what is over its limits at a time, in seconds since the epoch."""
        for job in self._queue.workers.running_jobs:
            key, limit = job.submission.key, self._limits.get(job.submission.key, Limits()).run_seconds
            if limit is not None and job.started is not None and now - job.started > limit:
                self._begin(key, TIMED_OUT)
        for key, limits in list(self._limits.items()):
            if limits.expires is not None and limits.expires <= now:
                self._begin(key, EXPIRED)

    async def settled(self) -> None:
        """Wait until all that was begun has ended."""
        await asyncio.gather(*self._ending.values())

    def _begin(self, key: Key, reason: Failure) -> None:
        if key not in self._ending:
            self._ending[key] = asyncio.create_task(self._end(key, reason))
            self._ending[key].add_done_callback(lambda _: self._ending.pop(key, None))

    async def _end(self, key: Key, reason: Failure) -> None:
        try:
            await self._queue.cancel(*key, reason)
            if reason is EXPIRED:
                await self._forget(key)
        except (ApiError, sqlite3.Error):  # the server stops, or the disk is full: the next tick tries again
            log.exception("a task over its limit could not be ended", task=key[1])

    async def _forget(self, key: Key) -> None:
        job = await self._history.delete(*key)
        for result in () if job is None else job.results:
            await self._media.delete(result.image_uuid, owner=key[0])
        self._limits.pop(key, None)

    async def _keep_ticking(self) -> None:
        while True:
            self.tick(time.time())
            await asyncio.sleep(TICK_SECONDS)
