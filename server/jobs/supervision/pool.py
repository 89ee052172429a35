"""The workers of one server: what they do now, and which of them has a job.

Asks their supervisors. Knows no queue, and decides nothing.
"""

import asyncio
from collections.abc import Iterable, Iterator, Sequence

from pipelines.models.engaged import Engaged
from server.jobs.events import Key
from server.jobs.job import Job
from server.jobs.scheduler import Busy
from server.jobs.supervision.rendering import Rendering
from server.jobs.supervision.supervisor import Supervisor, WorkerState


class WorkerPool:
    """The supervisors of the workers. What it tells of each worker is in the order of the devices."""

    def __init__(self, supervisors: Sequence[Supervisor]) -> None:
        self._supervisors = tuple(supervisors)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def ready(self) -> bool:
        """Whether at least one worker takes jobs."""
        return any(each.ready for each in self._supervisors)

    @property
    def failure(self) -> str | None:
        """Why a worker could not start; None when all could."""
        return next((each.start_failure for each in self._supervisors if each.start_failure is not None), None)

    @property
    def problem(self) -> str | None:
        """Why none takes jobs, in words; None if one does."""
        if self.ready:
            return None
        return self.failure or f"starting: no model is loaded yet on {' or '.join(self.devices)}"

    @property
    def lost(self) -> bool:
        """Whether no worker starts any more, after one of them was ready."""
        return all(each.start_failure is not None for each in self._supervisors) and any(
            each.was_ready for each in self._supervisors
        )

    @property
    def devices(self) -> tuple[str, ...]:
        """The device of each worker, in words."""
        return tuple(each.device for each in self._supervisors)

    @property
    def engaged(self) -> tuple[Engaged | None, ...]:
        """What the model of each worker runs with."""
        return tuple(each.engaged for each in self._supervisors)

    @property
    def states(self) -> tuple[WorkerState, ...]:
        """What each worker does."""
        return tuple(each.state for each in self._supervisors)

    @property
    def jobs(self) -> tuple[tuple[Job, ...], ...]:
        """What each worker renders."""
        return tuple(tuple(rendering.job for rendering in each.renderings) for each in self._supervisors)

    @property
    def running_jobs(self) -> tuple[Job, ...]:
        """What all workers render."""
        return tuple(rendering.job for rendering in self._renderings())

    def busy(self) -> list[Busy]:
        """How long those are busy that take jobs."""
        return [
            Busy(_seconds_left(each.renderings, low=False), _seconds_left(each.renderings, low=True))
            for each in self._supervisors
            if each.ready
        ]

    def rendering_of(self, key: Key) -> Rendering | None:
        """A job that a worker has now."""
        return next((each for each in self._renderings() if each.renders(key)), None)

    def beside(self, rendering: Rendering) -> tuple[Rendering, ...]:
        """All jobs of the worker that has this one, with this one."""
        return next((each.renderings for each in self._supervisors if rendering in each.renderings), ())

    def start(self) -> None:
        """Start the workers without waiting for them."""
        self._tasks = [asyncio.create_task(each.run()) for each in self._supervisors]

    async def started(self) -> None:
        """Wait until every worker is ready or cannot start."""
        await asyncio.gather(*(each.started() for each in self._supervisors))

    def wake(self) -> None:
        """Let the workers look for a job now."""
        for each in self._supervisors:
            each.wake()

    def announce_stop(self) -> None:
        """From now on the end of a worker is no error."""
        for each in self._supervisors:
            each.announce_stop()

    async def stop(self) -> None:
        """End the workers, with what they render."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(each.stop() for each in self._supervisors))

    def _renderings(self) -> Iterator[Rendering]:
        for each in self._supervisors:
            yield from each.renderings


def _seconds_left(renderings: Iterable[Rendering], *, low: bool) -> tuple[tuple[str, float], ...]:
    """The owner of each job of a priority, and the seconds that are left of it."""
    return tuple((each.job.submission.owner, each.seconds_left) for each in renderings if each.low == low)
