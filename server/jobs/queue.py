"""The queue: accepts jobs, and has its workers render them in the order of the scheduler.

A job is on disk before `submit` returns. A job that runs when the process ends is rendered at the next start. Knows
no wire format.
"""

import asyncio
import contextlib
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from math import inf

import structlog

from pipelines.request import RenderRequest
from server.errors import Failure, ServiceUnavailable
from server.jobs.estimates import Estimates
from server.jobs.events import Begun, Ended, Event, JobEvents, JobObserver, Key, LiveEvent, StepDone, Stopping
from server.jobs.job import CANCELLED, Cancellation, Job, Submission
from server.jobs.policy.admission import QueueBounds
from server.jobs.policy.company import shared_end
from server.jobs.policy.forecast import Foreseen, Turn
from server.jobs.recorder import JobRecorder
from server.jobs.scheduler import Scheduler
from server.jobs.storage.store import JobStore
from server.jobs.supervision.pool import WorkerPool
from server.jobs.supervision.rendering import Rendering
from server.jobs.supervision.supervisor import Supervisor
from server.jobs.timing.silence import SilenceLimits
from server.jobs.timing.step_times import StepTimes
from server.jobs.timing.work_bound import check_work
from server.jobs.workers.backend import Worker, WorkerDied
from server.keys.api_key import NO_LIMITS, KeyLimits
from server.mailbox import Mailbox
from server.media.store import MediaStore
from server.tracing.tracer import NO_TRACER, Tracer

log = structlog.get_logger()

# Ended jobs can be asked for this long; the vendor states no figure.
RETENTION_SECONDS = 7 * 86_400
DEFAULT_SILENCE = SilenceLimits()


def _no_limits(owner: str) -> KeyLimits:
    return NO_LIMITS


class JobQueue:
    """The jobs of one data folder, and the workers that render them."""

    def __init__(
        self,
        store: JobStore,
        media: MediaStore,
        workers: Sequence[Worker],
        times: StepTimes,
        *,
        bounds: QueueBounds,
        limits: Callable[[str], KeyLimits] = _no_limits,
        most_seconds: float = inf,
        silence: SilenceLimits = DEFAULT_SILENCE,
        observer: JobObserver | None = None,
        tracer: Tracer = NO_TRACER,
    ) -> None:
        """`limits` are those of an owner. `most_seconds` is the longest task that is accepted."""
        self._store = store
        self.unprepared = store.unprepared
        self._media = media
        self._times = times
        self._bounds = bounds
        self._most_seconds = most_seconds
        self._events = JobEvents(observer)
        self.recorder = JobRecorder(store, media, self._events, tracer)
        self._scheduler = Scheduler(store, bounds, limits, lambda: self.workers.busy())
        self.workers = WorkerPool(
            [
                Supervisor(worker, self._scheduler, self.recorder, times, silence, self._answer_waiting)
                for worker in workers
            ]
        )

    @property
    def problem(self) -> str | None:
        """Why no task can be taken, in words; None if one can."""
        return self.workers.problem or self._media.space.problem

    @property
    def limit(self) -> int:
        """How many jobs may wait."""
        return self._bounds.tasks

    @property
    def estimates(self) -> Estimates:
        """What is known about the seconds of requests."""
        return self._times.estimates

    async def open(self) -> None:
        """Queue interrupted jobs again, and start the workers without waiting for them."""
        await self._times.open()
        queued, given_up = await self._store.requeue_interrupted()
        if queued:
            log.info("interrupted tasks continue", tasks=queued)
        if given_up:
            log.error("tasks failed: the server was killed while they were rendered", tasks=given_up)
        self.workers.start()

    async def close(self) -> None:
        """Stop the workers. A job under way is rendered at the next start."""
        await self.workers.stop()
        try:
            await self._store.put_back_all()
        except sqlite3.Error:  # on disk it still runs, and the next start queues it
            log.exception("the task under way cannot be put back")

    def place(self, owner: str, request: RenderRequest, *, low: bool = False) -> AbstractAsyncContextManager[None]:
        """Hold a place for a task while its pictures are fetched. Raises what `submit` raises, but for its id."""
        if not self.workers.ready and (failure := self.workers.failure) is not None:
            raise ServiceUnavailable(f"No worker can start: {failure}", code="modelNotReady")
        return self._scheduler.place(owner, self._checked_seconds(request), low=low)

    async def submit(self, submission: Submission, *, placed: bool = False) -> Job:
        """Accept a job. It is on disk when this returns. `placed` says that its `place` is held.

        Raises `ConflictTaskUUID`, `RateLimitExceeded`, `ValueTooLarge`, `InsufficientStorage`, or
        `ServiceUnavailable` when a worker could not start and none is ready.
        """
        if not placed:
            async with self.place(submission.owner, submission.request, low=submission.low):
                return await self.submit(submission, placed=True)
        job = await self._store.accept(submission, estimate=self._checked_seconds(submission.request))
        self._offer()
        return job

    async def accept_unprepared(self, submission: Submission, spec: str) -> Job:
        """Accept a job whose `place` is held, and that waits for `prepare`. Raises `ConflictTaskUUID`."""
        estimate = self.estimates.seconds(submission.request)
        job = await self.unprepared.accept(submission, spec, estimate=estimate)
        self._events.move_queue()
        return job

    async def prepare(self, submission: Submission) -> None:
        """Let a worker take a job that was accepted before its pictures were fetched, unless it has ended meanwhile.

        Raises `ValueTooLarge` and `InsufficientStorage`.
        """
        await self.unprepared.prepare(submission, estimate=self._checked_seconds(submission.request))
        self._offer()

    async def accept_failed(self, submission: Submission, failure: Failure) -> Job:
        """Accept a job that has failed already: its client polls for it. Raises `ConflictTaskUUID`."""
        job = await self._store.accept_failed(submission, failure)
        self.recorder.announce_end(job)
        return job

    async def find(self, owner: str, task_uuid: str) -> Job | None:
        """The job of a task, or None."""
        return await self._store.find(owner, task_uuid)

    def progress(self, job: Job) -> int:
        """The finished part of a job, in percent of all its steps."""
        count = job.submission.request.count
        done = float(len(job.results))
        rendering = self.workers.rendering_of(job.submission.key)
        if rendering is not None and (latest := rendering.progress):
            done = max(done, latest.index + latest.together * latest.step / latest.steps)
        return int(100 * done / count)

    async def cancel(self, owner: str, task_uuid: str, reason: Failure = CANCELLED) -> Cancellation:
        """Cancel a waiting job at once, or a running one at its next step. Returns when it has ended.

        One whose weights are being loaded ends at once. `reason` is kept as its failure. Raises `ServiceUnavailable`
        when the server stops before that.
        """
        key = owner, task_uuid.lower()
        with self.watch(key) as events:
            job = None
            while job is None or job.state == "queued":  # a worker may have put it back between the two questions
                if await self.cancel_queued(key, reason):
                    return "cancelled"
                job = await self._store.find(*key)
                if job is None or job.ended:
                    return "unknown" if job is None else "ended"
            if rendering := self.workers.rendering_of(key):
                with contextlib.suppress(WorkerDied):  # the end of the job follows
                    rendering.cancel(reason)
            while not isinstance(event := await events.get(), Ended):
                if isinstance(event, Stopping):
                    raise ServiceUnavailable("The server is stopping. The task is not cancelled.")
        return "cancelled" if event.job.state == "cancelled" else "ended"

    async def cancel_queued(self, key: Key, reason: Failure = CANCELLED) -> bool:
        """Cancel a job that waits. False when it does not wait."""
        return self._announce(await self._store.end_queued(*key, reason))

    async def fail_queued(self, key: Key, failure: Failure) -> bool:
        """Let a job fail that waits. False when it does not wait."""
        return self._announce(await self._store.end_queued(*key, failure, "failed"))

    @contextlib.contextmanager
    def giving_up(self, key: Key, gone: asyncio.Event) -> Iterator[None]:
        """Cancel a job once its client is gone, unless a worker has begun it. A running job is finished."""
        waiting = asyncio.create_task(self._give_up(key, gone))
        try:
            yield
        finally:
            waiting.cancel()

    def watch(self, key: Key) -> AbstractContextManager[asyncio.Queue[Event]]:
        """Receive the events of a job. Enter before submitting it, so that none is missed."""
        return self._events.watch(key)

    def watch_live(self, key: Key) -> AbstractContextManager[Mailbox[LiveEvent]]:
        """Receive the steps and previews of a job too."""
        return self._events.watch_live(key)

    def latest(self, job: Job) -> Begun | StepDone | None:
        """How far a worker is with a job. None when none has it."""
        if (rendering := self.workers.rendering_of(job.submission.key)) is None:
            return None
        if (reply := rendering.progress) is None:
            return Begun(job)
        return StepDone(job, reply.index, reply.step, reply.steps, reply.reused)

    def announce_stop(self) -> None:
        """Announce to all watchers that no more events come, and let the workers end."""
        self._events.announce_stop()
        self.workers.announce_stop()

    async def turns(self) -> list[Turn]:
        """When each waiting job is expected to begin and to end, in their order."""
        return await self._scheduler.turns()

    async def foresee(self, job: Job) -> Foreseen | None:
        """When a job that has not ended is expected to begin and to end. None for one that has ended meanwhile."""
        if rendering := self.workers.rendering_of(job.submission.key):
            beside, low = self.workers.beside(rendering), rendering.low
            before = await self._normal_seconds(beside) if low else 0.0
            others = [each.seconds_left for each in beside if each is not rendering and each.low == low]
            return Foreseen(None, 0.0, shared_end(rendering.seconds_left, others, before))
        turn = next((turn for turn in await self.turns() if turn.task.job_id == job.id), None)
        return None if turn is None else Foreseen(turn.position, turn.begins, turn.ends)

    async def _normal_seconds(self, renderings: Sequence[Rendering]) -> float:
        """The seconds until no job of normal priority waits, nor is among those of a worker."""
        waiting = [turn.ends for turn in await self.turns() if not turn.task.low]
        return max(waiting, default=sum(each.seconds_left for each in renderings if not each.low))

    async def waiting(self) -> int:
        """The number of jobs that wait for a worker."""
        return await self._store.count_queued()

    async def sweep(self) -> None:
        """Delete the jobs that ended longer than `RETENTION_SECONDS` ago."""
        await self._store.forget(time.time() - RETENTION_SECONDS)

    async def _answer_waiting(self) -> None:
        """Fail the waiting tasks if no worker can start: nobody knows when they could be rendered."""
        if not self.workers.lost:
            return  # a server whose first worker cannot start ends, and keeps its tasks
        failure = Failure("modelNotReady", f"No worker can start: {self.workers.failure}", ServiceUnavailable.status)
        for job in await self._store.fail_queued(failure):
            self._events.publish(Ended(job))

    async def _give_up(self, key: Key, gone: asyncio.Event) -> None:
        await gone.wait()
        if await self.cancel_queued(key):
            log.info("a task was cancelled because its client is gone", task=key[1])

    def _checked_seconds(self, request: RenderRequest) -> float:
        """The seconds that a request takes. Raises `ValueTooLarge`, and `InsufficientStorage` without room for it."""
        self._media.space.check()
        check_work(request, self.estimates, self._most_seconds)
        return self.estimates.seconds(request)

    def _offer(self) -> None:
        """Tell the workers and the watchers that another job waits."""
        self.workers.wake()
        self._events.move_queue()

    def _announce(self, ended: Job | None) -> bool:
        """Announce the end of a job that waited, if it did."""
        if ended is not None:
            self.recorder.announce_end(ended)
        return ended is not None
