"""Keeps one worker alive and busy: starts it, gives it one job after the other, starts it again when it dies.

A worker that is silent for too long is ended. One that ends at each start is started less and less often, and the
queue is told why. Knows no wire format. What the worker reports goes to the recorder.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Literal

import structlog

from pipelines.models.engaged import Engaged
from server.errors import Failure
from server.jobs.events import Key
from server.jobs.job import CANCELLED, Job
from server.jobs.recorder import JobRecorder
from server.jobs.scheduler import Scheduler
from server.jobs.timing.silence import SilenceLimits, allowed_silence
from server.jobs.timing.step_times import StepTimes
from server.jobs.workers.backend import Worker, WorkerDied, WorkerStartFailed
from server.jobs.workers.messages import Cancelled, ImageWritten, Loading, Outcome, Preview, Progress, Reply

log = structlog.get_logger()

# After an error of the server itself, such as a full disk.
RESTART_PAUSE_SECONDS = 1.0
# A worker that worked is started again at once. Later ends in a row wait: 1, 2, 4 … seconds, but at most a minute.
LONGEST_PAUSE_SECONDS = 60.0
_MOST_DOUBLINGS = 10  # more would not be a float some day
# Ends in a row after which the waiting tasks are answered.
FAILED_STARTS = 3
# A worker that has lived this long had a good start.
GOOD_LIFE_SECONDS = 60.0
WorkerState = Literal["starting", "idle", "busy", "failed"]


class Supervisor:
    """One worker, the job that it renders now, and how far that is."""

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
        self._watched = False  # whether the worker sends previews
        self._cancel_reason = CANCELLED
        self._cancelled = False
        self._loading = _Stopwatch()  # of weights for the job
        self._early_end: asyncio.Task[None] | None = None  # of a job that was cancelled while it loaded
        self._gives_way: float | None = None  # the seconds of the other images of a job that is to wait for them
        self.ready = False
        self.start_failure: str | None = None
        self.job: Job | None = None
        self.progress: Progress | None = None

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
        return "idle" if self.job is None else "busy"

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

    def cancel(self, reason: Failure = CANCELLED) -> None:
        """Stop the job that the worker renders now, at its next step, for a reason that its failure keeps.

        While weights are loaded for it, which may take minutes, it ends at once. The load goes on, for others.
        """
        if (job := self.job) is None or self._early_end is not None:
            return
        self._cancel_reason, self._cancelled = reason, True
        self._worker.cancel(job.id)
        if self._loading.running:
            end = self._recorder.end(job, Cancelled(job.id), reason, loaded=self._loading.seconds)
            self._early_end = asyncio.create_task(end)

    def renders(self, key: Key) -> bool:
        """Whether the worker renders this job now. One that was cancelled while it loaded is rendered no more."""
        return self.job is not None and self.job.submission.key == key and self._early_end is None

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
            await self._worker.stop()
        except WorkerStartFailed as error:
            if self.was_ready:
                return await self._note_end(str(error))
            await self._report_failure(str(error))  # it will not find the weights a second later either
            return None
        except WorkerDied:
            if not self._stopping:
                return await self._note_end(await self._worker.last_words())
        return RESTART_PAUSE_SECONDS

    async def _drive(self) -> None:
        """Start the worker and render jobs until it ends, or until a job cannot be stored.

        Raises `WorkerDied` and `WorkerStartFailed`.
        """
        try:
            async with asyncio.timeout(self._limits.loading):
                await self._worker.start(self._on_worker_end)
        except TimeoutError:
            await self._end_silent_worker(self._limits.loading, "while it loaded")
        self.ready = self.was_ready = True
        self._ready_since = time.monotonic()
        self.start_failure = None
        self._started.set()
        try:
            while True:
                await self._render(await self._next_job())
        except WorkerDied:
            raise
        except Exception:
            # The worker may be in the middle of a job. Its replies must not be read as those to the next job.
            log.exception("task lost, starting its worker again", device=self._worker.device)
        finally:
            self.ready = False

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
        await self._worker.kill()
        raise WorkerDied(f"The worker did not answer for {seconds:.0f} seconds {when}, so it was ended.")

    def _on_worker_end(self) -> None:
        self.ready = False
        self._wake_up.set()

    async def _next_job(self) -> Job:
        """Wait for a job. Raises `WorkerDied` when the worker ends before there is one."""
        while True:
            self._wake_up.clear()
            if not self.ready:
                raise WorkerDied
            try:
                job = await self._scheduler.claim()
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

    async def _render(self, job: Job) -> None:
        self.job, self._cancel_reason = job, CANCELLED
        self._recorder.begin(job)
        self._cancelled, self._gives_way = False, None
        self._ends = 0  # what ends it now is the task
        last: Reply | None = None
        self._loading, self._early_end = _Stopwatch(), None
        try:
            replies = self._worker.render(self._recorder.render_job(job))
            while not isinstance(last, Outcome):
                seconds = allowed_silence(job.submission.request, last, self._times.estimates, self._limits)
                last = await _reply_within(seconds, replies)
                self._loading.run(isinstance(last, Loading))
                if last is None:
                    await self._end_silent_worker(seconds, "during this task")
                elif self._early_end is not None:
                    continue  # the worker has not read of it yet
                elif isinstance(last, Progress):
                    self.progress = last
                    self._recorder.show(job, last)
                    self._ask_for_previews(job)
                elif isinstance(last, Preview):
                    self._recorder.show(job, last)
                elif isinstance(last, ImageWritten):
                    await self._recorder.add_image(job, last)
                    if last.measured is not None:
                        await self._times.learn(job.submission.request, last.measured)
                    await self._consider_giving_way(job, last.index + 1)
                elif isinstance(last, Cancelled) and self._gives_way is not None and not self._cancelled:
                    await self._put_back(job, self._gives_way)
                elif isinstance(last, Outcome):
                    await self._recorder.end(job, last, self._cancel_reason, loaded=self._loading.seconds)
            await self._ended_early()
        except WorkerDied as error:
            if not await self._ended_early() and not self._stopping:  # else the task continues at the next start
                await self._recorder.fail(job, str(error) or "The worker process ended during this task.")
            raise
        except Exception as error:
            message = "The result of this task could not be stored. The server's log has the details."
            await self._recorder.fail(job, message, error)
            raise
        finally:
            self._scheduler.release(job)
            self.job = self.progress = self._early_end = None
            self._watched = False

    async def _ended_early(self) -> bool:
        """Whether the job was cancelled while it loaded. Its end is stored then."""
        if self._early_end is None:
            return False
        await self._early_end
        return True

    def _ask_for_previews(self, job: Job) -> None:
        """Ask the worker for previews while somebody watches. Looked at once a step: that is soon enough."""
        if (wanted := self._recorder.previews_wanted(job)) != self._watched:
            self._watched = wanted
            self._worker.watch(job.id, wanted)

    async def _consider_giving_way(self, job: Job, images: int) -> None:
        """Stop a job after some of its images if it is the turn of another key. It continues with the others later."""
        request = job.submission.request
        left = self._times.estimates.remaining_seconds(request, images, 0)
        if images < request.count and await self._scheduler.gives_way(job, left) and not self._cancelled:
            self._gives_way = left
            self._worker.cancel(job.id)

    async def _put_back(self, job: Job, left: float) -> None:
        """Let a job wait for its other images. It may be cancelled meanwhile."""
        await self._scheduler.put_back(job, left)
        if self._cancelled and (ended := await self._scheduler.withdraw(job, self._cancel_reason)):
            self._recorder.announce_end(ended)


class _Stopwatch:
    """Seconds, of the times in which it was running."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._since: float | None = None

    @property
    def running(self) -> bool:
        """Whether it runs now."""
        return self._since is not None

    @property
    def seconds(self) -> float:
        """All so far."""
        return self._seconds + (0.0 if self._since is None else time.monotonic() - self._since)

    def run(self, running: bool) -> None:
        """Start or stop it."""
        self._seconds, self._since = self.seconds, time.monotonic() if running else None


async def _reply_within(seconds: float, replies: AsyncIterator[Reply]) -> Reply | None:
    """The next reply, or None if it does not come within the time."""
    try:
        async with asyncio.timeout(seconds):
            return await anext(replies)
    except TimeoutError:
        return None


def pause_seconds(ends: int) -> float:
    """The seconds before a worker is started again that has ended this many times in a row."""
    doublings = min(ends - 2, _MOST_DOUBLINGS)
    return 0.0 if ends <= 1 else min(LONGEST_PAUSE_SECONDS, RESTART_PAUSE_SECONDS * 2**doublings)
