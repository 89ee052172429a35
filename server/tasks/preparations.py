"""Fetches the pictures of tasks that were accepted before, beside the requests of clients.

A restart goes on with them. What cannot be used becomes the failure of its task. Knows no wire format and no transport.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable

import structlog
from pydantic import TypeAdapter, ValidationError

from server.errors import ApiError, Failure, TaskRejected
from server.jobs.events import Key
from server.jobs.queue import JobQueue
from server.jobs.storage.rows import UNREADABLE
from server.storage import unforeseen_error
from server.tasks.spec import TaskSpec

log = structlog.get_logger()

_SPEC = TypeAdapter(TaskSpec)


def spec_text(spec: TaskSpec) -> str:
    """A spec as it is stored with its job."""
    return _SPEC.dump_json(spec, by_alias=True).decode()


def read_spec(text: str) -> TaskSpec:
    """A stored spec. Raises `ValueError` when another version wrote it."""
    return _SPEC.validate_json(text)


class Preparations:
    """The tasks of one server whose pictures are being fetched. `prepare` fetches those of one and queues it."""

    def __init__(self, queue: JobQueue, prepare: Callable[[TaskSpec], Awaitable[None]]) -> None:
        self._queue = queue
        self._prepare = prepare
        self._running: dict[Key, asyncio.Task[None]] = {}

    async def open(self) -> None:
        """Go on with the tasks of an earlier process."""
        for job, text in await self._queue.unprepared.waiting():
            try:
                self.begin(read_spec(text))
            except ValidationError:
                await self._queue.fail_queued(job.submission.key, UNREADABLE)

    async def close(self) -> None:
        """Stop. The tasks stay on disk."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def begin(self, spec: TaskSpec) -> None:
        """Fetch the pictures of an accepted task. An earlier task of the same id has ended, and is left."""
        key = spec.owner, spec.task_id.lower()
        self.stop(key)
        running = asyncio.create_task(self._run(key, spec))
        self._running[key] = running
        running.add_done_callback(lambda done: self._forget(key, done))

    def stop(self, key: Key) -> None:
        """Leave a task whose job is cancelled."""
        if (running := self._running.get(key)) is not None:
            running.cancel()

    async def _run(self, key: Key, spec: TaskSpec) -> None:
        try:
            await self._prepare(spec)
        except TaskRejected as rejected:
            await self._fail(key, rejected.errors[0])
        except ApiError as error:
            await self._fail(key, error)
        except Exception as error:
            log.exception("the pictures of a task could not be fetched", task=spec.task_id)
            await self._fail(key, unforeseen_error(error))

    async def _fail(self, key: Key, error: ApiError) -> None:
        try:
            await self._queue.fail_queued(key, Failure(error.code, error.message, error.status, error.path))
        except sqlite3.Error:  # the next start fetches them again
            log.exception("the end of a task cannot be stored", task=key[1])

    def _forget(self, key: Key, done: asyncio.Task[None]) -> None:
        if self._running.get(key) is done:
            del self._running[key]
