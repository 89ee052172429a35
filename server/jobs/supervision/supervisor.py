"""Keeps one worker alive and busy: starts it, gives it jobs, starts it again when it dies.

A worker that is silent for too long is ended. One that ends at each start is started less and less often, and the
queue is told why. Knows no wire format. What the worker reports goes to the recorder.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Literal, NoReturn

import structlog

from pipelines.models.engaged import Engaged
from server.jobs.job import Job
from server.jobs.policy.batches import has_room, most_of
from server.jobs.policy.company import Neighbour, ends_soon, takes_more, waits_for
from server.jobs.recorder import JobRecorder
from server.jobs.scheduler import Scheduler
from server.jobs.supervision.rendering import Rendering
from server.jobs.timing.silence import SilenceLimits
from server.jobs.timing.step_times import StepTimes
from server.jobs.workers.backend import Worker, WorkerDied, WorkerStartFailed

log = structlog.get_logger()

# After an error of the server itself, such as a full disk.
RESTART_PAUSE_SECONDS = 1.0
# A worker that worked is started again at once. Later ends in a row wait: 1, 2, 4 … seconds, but at most a minute.
LONGEST_PAUSE_SECONDS = 60.0
_MOST_DOUBLINGS = 10  # more would not be a float some day
# Ends in a row after which the waiting tasks are answered.
FAILED_STARTS = 3
# Between two questions to a worker without a job whether it still answers.
IDLE_CHECK_SECONDS = 10.0
# A worker that has lived this long had a good start.
GOOD_LIFE_SECONDS = 60.0
WorkerState = Literal["starting", "idle", "busy", "failed"]


class Supervisor:
    """One worker, and the jobs that it has now."""

    def __init__(
        self,
        worker: Worker,
        scheduler: Scheduler,
        recorder: JobRecorder,
        times: StepTimes,
        limits: SilenceLimits,
        on_failure: Callable[[], Awaitable[None]],
    ) -> None:
        """`on_failure` is called when `start_failure` is known."""
        self._worker = worker
        self._scheduler = scheduler
        self._recorder = recorder
        self._times = times
        self._limits = limits
        self._on_failure = on_failure
        self._ends = 0  # in a row, without a good life between
        self._ready_since: float | None = None
        self.was_ready = False
        self._started = asyncio.Event()
        self._wake_up = asyncio.Event()  # there may be a job to claim, or the worker has ended
        self._stopping = False
        self._running: dict[Rendering, asyncio.Task[None]] = {}
        # Whether another job may join: a normal one and a low one because steps end soon, and one of a batch.
        self._openings: tuple[bool, ...] = False, False, False
        self._heard = asyncio.Event()  # the worker has answered
        self._silence: str | None = None  # why a worker was ended that did not answer
        self.ready = False
        self.start_failure: str | None = None

    @property
    def device(self) -> str:
        """The worker's device, in words."""
        return self._worker.description

    @property
    def state(self) -> WorkerState:
        """What the worker does. A worker that died is started again."""
        if self.start_failure is not None:
            return "failed"
        if not self.ready:
            return "starting"
        return "busy" if self._running else "idle"

    @property
    def renderings(self) -> tuple[Rendering, ...]:
        """The jobs that the worker has, in the order in which it got them."""
        return tuple(self._running)

    @property
    def engaged(self) -> Engaged | None:
        """What the worker's model runs with."""
        return self._worker.engaged

    async def started(self) -> None:
        """Wait until the worker is ready or cannot start."""
        await self._started.wait()

    def wake(self) -> None:
        """Look for a job now."""
        self._wake_up.set()

    def announce_stop(self) -> None:
        """From now on the worker's end is no error: a signal to the process group ends it first."""
        self._stopping = True

    async def stop(self) -> None:
        """End the worker."""
        await self._worker.stop()

    async def run(self) -> None:
        """Render jobs until cancelled, until the server stops, or until the worker reports that it cannot start.

        Whatever else ends the driving of the worker, `ready` is false and it begins again.
        """
        while not self._stopping:
            try:
                pause = await self._live()
            except Exception:
                pause = RESTART_PAUSE_SECONDS
                log.exception("the supervisor of a worker failed, and starts again", device=self._worker.device)
            if pause is None:
                return
            if not self._stopping:
                await asyncio.sleep(pause)

    async def _live(self) -> float | None:
        """One life of the worker. Returns the seconds until its next start, None if there is none."""
        try:
            await self._drive()
        except WorkerStartFailed as error:
            if self.was_ready:
                return await self._note_end(str(error))
            await self._report_failure(str(error))  # it will not find the weights a second later either
            return None
        except WorkerDied:
            if not self._stopping:
                return await self._note_end(await self._worker.last_words())
        except Exception:
            await self._worker.stop()  # else two of them would hold the memory of the device
            raise
        return RESTART_PAUSE_SECONDS

    async def _drive(self) -> NoReturn:
        """Start the worker and render jobs until it ends.

        Raises `WorkerDied` and `WorkerStartFailed`.
        """
        try:
            async with asyncio.timeout(self._limits.loading):
                await self._worker.start(self._on_worker_end)
        except TimeoutError:
            await self._end_silent_worker(self._limits.loading, "while it loaded")
        self.ready = self.was_ready = True
        self._ready_since = time.monotonic()
        self.start_failure = self._silence = None
        self._started.set()
        watching = asyncio.create_task(self._watch_silence())
        try:
            while True:
                self._begin(await self._next_job())
        except asyncio.CancelledError:
            for task in self._running.values():
                task.cancel()
            raise
        finally:
            self.ready = False
            watching.cancel()
            await asyncio.gather(watching, *self._running.values(), return_exceptions=True)

    async def _note_end(self, reason: str) -> float:
        """Count and log an end of the worker. Returns the seconds until its next start."""
        lived = 0.0 if self._ready_since is None else time.monotonic() - self._ready_since
        self._ready_since = None
        self._ends = 1 if lived >= GOOD_LIFE_SECONDS else self._ends + 1
        pause = pause_seconds(self._ends)
        log.error("worker died, starting it again", device=self._worker.device, reason=reason, pause=pause)
        if self._ends >= FAILED_STARTS:
            await self._report_failure(f"The worker ended {self._ends} times in a row: {reason}")
        return pause

    async def _report_failure(self, reason: str) -> None:
        """Tell everybody who waits for this worker that it cannot start."""
        self.start_failure = reason
        log.error("worker cannot start", device=self._worker.device, reason=reason)
        self._started.set()
        await self._on_failure()

    async def _end_silent_worker(self, seconds: float, when: str) -> None:
        """End a worker that does not answer. Raises `WorkerDied` with a sentence for the client."""
        log.error("worker does not answer", device=self._worker.device, seconds=round(seconds), when=when)
        self._silence = f"The worker did not answer for {seconds:.0f} seconds {when}, so it was ended."
        await self._worker.kill()
        self._on_worker_end()
        raise WorkerDied(self._silence)

    def _on_worker_end(self) -> None:
        self.ready = False
        self._wake_up.set()

    async def _next_job(self) -> Job:
        """Wait for a job. Raises `WorkerDied` when the worker ends before there is one."""
        while True:
            self._wake_up.clear()
            if not self.ready:
                raise WorkerDied
            if not (self._takes_more(low=False) or self._batch_has_room()):  # then none of low priority either
                await self._wake_up.wait()
                continue
            try:
                job = await self._scheduler.claim(
                    self._neighbours,
                    takes_normal=self._takes_more(low=False),
                    takes_low=self._takes_more(low=True),
                    gains=self._worker.gains,
                )
            except Exception:
                log.exception("no task can be read from the database")
                await asyncio.sleep(RESTART_PAUSE_SECONDS)
                continue
            if job is None:
                await self._wake_up.wait()
            elif job.ended:  # its row cannot be read
                self._recorder.announce_end(job)
            else:
                return job

    def _begin(self, job: Job) -> None:
        """Give the worker a job. What ends the worker from now on is a task."""
        waits = bool(waits_for(self._neighbours, low=job.submission.low))
        rendering = Rendering(job, self._worker, self._scheduler, self._recorder, self._times, waits=waits)
        self._ends = 0
        self._running[rendering] = asyncio.create_task(self._render(rendering))
        for each in self._running if len(self._running) > 1 else ():
            each.beside_others = True
        self._hear()

    async def _render(self, rendering: Rendering) -> None:
        """Render a job to its end. A worker that dies meanwhile is started again."""
        try:
            await rendering.run(self._hear)
        except WorkerDied as error:
            self._on_worker_end()
            if not self._stopping:  # else the task continues at the next start
                await rendering.lose(self._silence or str(error))
        except Exception:
            log.exception("the end of a task failed", device=self._worker.device)
        finally:
            del self._running[rendering]
            self._heard.set()
            self.wake()

    def _hear(self) -> None:
        """The worker has answered, or has something new to answer to."""
        self._heard.set()
        openings = (*(ends_soon(waits_for(self._neighbours, low=low)) for low in (False, True)), self._batch_has_room())
        if any(now and not before for now, before in zip(openings, self._openings, strict=True)):
            self.wake()
        self._openings = openings

    @property
    def _neighbours(self) -> tuple[Neighbour, ...]:
        """The jobs that the worker has."""
        return tuple(each.as_neighbour for each in self._running)

    def _takes_more(self, *, low: bool) -> bool:
        """Whether the worker takes another job of normal or of low priority now."""
        sharing = self._worker.sharing
        if not sharing.overlap and sharing.renders == 1:
            return not any(low or not each.low for each in self._running)
        return takes_more(self._neighbours, sharing.renders, low=low, together=most_of(self._worker.gains))

    def _batch_has_room(self) -> bool:
        """Whether the worker takes another job if that joins the batch of those that it has."""
        return has_room([each.member for each in waits_for(self._neighbours, low=True)], most_of(self._worker.gains))

    async def _watch_silence(self) -> None:
        """End a worker that does not answer: while it has jobs, and to a question while it has none."""
        with contextlib.suppress(WorkerDied):
            while True:
                allowed = [rendering.allowed_silence(self._limits) for rendering in self._running]
                self._heard.clear()
                try:
                    async with asyncio.timeout(max(allowed, default=IDLE_CHECK_SECONDS)):
                        await self._heard.wait()
                except TimeoutError:
                    if allowed:
                        await self._end_silent_worker(max(allowed), "during this task")
                    if not await self._worker.answers(self._limits.least):
                        await self._end_silent_worker(self._limits.least, "while it had no task")


def pause_seconds(ends: int) -> float:
    """The seconds before a worker is started again that has ended this many times in a row."""
    doublings = min(ends - 2, _MOST_DOUBLINGS)
    return 0.0 if ends <= 1 else min(LONGEST_PAUSE_SECONDS, RESTART_PAUSE_SECONDS * 2**doublings)
