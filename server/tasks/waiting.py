"""Waits for a task whose client polls, or holds its line: up to a deadline, whatever the dialect.

The task goes on when the wait is over. Knows no wire format and no transport.
"""

import asyncio

from server.jobs.events import Ended, Event, Stopping
from server.jobs.job import Job
from server.jobs.queue import JobQueue
from server.tasks.spec import TaskSpec
from server.tasks.submit import Accepted, TaskService


async def accept(tasks: TaskService, spec: TaskSpec) -> Job:
    """Accept a task that nobody waits for yet. Raises what `TaskService.run` raises."""
    async for event in tasks.run(spec, listens=False, gone=asyncio.Event()):
        if isinstance(event, Accepted):
            return event.job
    raise LookupError("a task was neither accepted nor refused")


async def wait_for_end(
    queue: JobQueue, owner: str, task_id: str, seconds: float, gone: asyncio.Event | None = None
) -> Job | None:
    """The job once it has ended, or as it is after some seconds or when the server stops. None if there is none.

    The wait is over too when `gone` is set, because its client has hung up.
    """
    with queue.watch((owner, task_id.lower())) as events:
        job = await queue.find(owner, task_id)
        if job is None or job.ended:
            return job
        waits = [asyncio.create_task(_next_end(events))]
        if gone is not None:
            waits.append(asyncio.create_task(_set(gone)))
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return await queue.find(owner, task_id)


async def _next_end(events: asyncio.Queue[Event]) -> None:
    while not isinstance(await events.get(), Ended | Stopping):
        pass


async def _set(gone: asyncio.Event) -> None:
    await gone.wait()
