"""What a watcher is told of a task, whatever its dialect: its place in the queue, steps, previews, images, the end.

A watcher may come at any time, and come back. Knows no wire format and no transport.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

from server.jobs.events import Begun, Ended, PreviewReady, QueueMoved, ResultReady, StepDone, Stopping
from server.jobs.job import Job
from server.jobs.queue import JobQueue
from server.tasks.submit import unknown_task


@dataclass(frozen=True, slots=True)
class Queued:
    """A task waits. `position` is the number of tasks before it. `seconds` are estimated, until its end."""

    position: int
    seconds: float


TaskNews = Queued | Begun | StepDone | PreviewReady | ResultReady | Ended


class TaskWatch:
    """Follows the tasks of a queue."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue

    async def find(self, owner: str, task_id: str) -> Job:
        """The job of a task as it is now. Raises `NotFound` when its owner has none."""
        if (job := await self._queue.find(owner, task_id)) is None:
            raise unknown_task(task_id)
        return job

    async def follow(self, owner: str, task_id: str, results: int = 0) -> AsyncGenerator[TaskNews]:
        """Yield how things stand and what happens then, up to the end of the task or of the server.

        The first `results` images are left out: the watcher has them. Of steps and previews a slow watcher gets the
        latest. Raises `NotFound` when the owner has no such task.
        """
        with self._queue.watch_live((owner, task_id.lower())) as mailbox:
            job = await self.find(owner, task_id)
            told = {result.index for result in job.results}
            for result in job.results[results:]:
                yield ResultReady(job, result)
            if job.ended:
                yield Ended(job)
                return
            if latest := self._queue.latest(job):
                yield latest
            place = None
            mailbox.put(QueueMoved())
            while True:
                event = await mailbox.get()
                if isinstance(event, Stopping):
                    return
                if isinstance(event, QueueMoved):
                    # A task may wait again: one of several images gives way to another key between two of them.
                    before, place = place, await self._place(job)
                    if place is not None and place != before:
                        yield place
                    continue
                if isinstance(event, ResultReady) and event.result.index in told:
                    continue
                yield event
                if isinstance(event, Ended):
                    return

    async def _place(self, job: Job) -> Queued | None:
        """The place of a job in the queue. None when it has left it."""
        foreseen = await self._queue.foresee(job)
        if foreseen is None or foreseen.position is None:
            return None
        return Queued(foreseen.position, round(foreseen.ends, 1))
