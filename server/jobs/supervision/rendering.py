"""One job at a worker: takes the worker's replies until the job has ended, and says how far it is.

Knows one job, and no other one of its worker. Knows no wire format. What is stored goes to the recorder.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable

import structlog

from server.errors import Failure
from server.jobs.events import Key
from server.jobs.job import CANCELLED, Job
from server.jobs.policy.batches import GOES_ALONE, Member, member_of
from server.jobs.policy.company import Neighbour
from server.jobs.recorder import JobRecorder
from server.jobs.scheduler import Scheduler
from server.jobs.timing.silence import SilenceLimits, allowed_silence
from server.jobs.timing.step_times import StepTimes
from server.jobs.workers.backend import Worker, WorkerDied
from server.jobs.workers.messages import Cancelled, ImageWritten, Loading, Outcome, Preview, Progress, Reply

log = structlog.get_logger()


class Rendering:
    """A job that a worker has, from its claim to its end."""

    def __init__(
        self,
        job: Job,
        worker: Worker,
        scheduler: Scheduler,
        recorder: JobRecorder,
        times: StepTimes,
        *,
        waits: bool = False,
    ) -> None:
        """`waits` says that the job may wait at the worker for others."""
        self.job = job
        self._waits = waits
        self.progress: Progress | None = None
        self.beside_others = False  # another job was at the worker at the same time
        self._worker, self._scheduler, self._recorder, self._times = worker, scheduler, recorder, times
        self._last: Reply | None = None
        self._cancel_reason = CANCELLED
        self.cancelled = False
        self._watched = False  # whether the worker sends previews
        self._gives_way: float | None = None  # the seconds of the other images of a job that is to wait for them
        self._loading = _Stopwatch()  # of weights for the job
        self._early_end: asyncio.Task[None] | None = None  # of a job that was cancelled while it loaded
        self._written = -1  # the last image that is written
        self._used = 0.0  # seconds of the device, of the images that are written

    @property
    def steps_done(self) -> bool:
        """Whether all steps of all images are done, so that the device has time for another job."""
        last = self.progress
        return (
            last is not None
            and last.index + last.together == self.job.submission.request.count
            and last.step >= last.steps
        )

    @property
    def seconds_left(self) -> float:
        """The estimated seconds until the job ends, if nothing runs beside it."""
        latest = self.progress
        index, step = (len(self.job.results), 0) if latest is None else (latest.index, latest.together * latest.step)
        return self._times.estimates.remaining_seconds(self.job.submission.request, index, step)

    @property
    def as_neighbour(self) -> Neighbour:
        """The job as the policy sees it."""
        left = 0.0 if self.steps_done else self.seconds_left
        return Neighbour(self.job.id, self.job.submission.owner, left, self.job.tried, self.low, self._member)

    @property
    def _member(self) -> Member:
        request, gains = self.job.submission.request, self._worker.gains
        if gains is None or self.job.tried:
            return GOES_ALONE
        latest = self.progress
        left = request.count - (len(self.job.results) if latest is None else latest.index)
        return member_of(request, gains, left=left, low=self.low)

    @property
    def low(self) -> bool:
        """Whether the job is of low priority."""
        return self.job.submission.low

    @property
    def seconds_used(self) -> float:
        """The seconds of the device so far, without those of other jobs. Those of the image under way are estimated."""
        used, latest = self._used, self.progress
        if latest is not None and latest.index > self._written:
            used += latest.together * latest.step * self._times.estimates.step_seconds(self.job.submission.request)
        return used

    def allowed_silence(self, limits: SilenceLimits) -> float:
        """The seconds until the worker must be heard of again."""
        return allowed_silence(self.job.submission.request, self._last, self._times.estimates, limits)

    def cancel(self, reason: Failure = CANCELLED) -> None:
        """Stop the job at its next step, for a reason that its failure keeps. Raises `WorkerDied`.

        While weights are loaded for it, which may take minutes, it ends at once. The load goes on, for others.
        """
        if self._early_end is not None:
            return
        self._cancel_reason, self.cancelled = reason, True
        self._worker.cancel(self.job.id)
        if self._loading.running:
            end = self._recorder.end(self.job, Cancelled(self.job.id), reason, loaded=self._loading.seconds)
            self._early_end = asyncio.create_task(end)

    def renders(self, key: Key) -> bool:
        """Whether this is a job, and goes on. One that was cancelled while it loaded is rendered no more."""
        return self.job.submission.key == key and self._early_end is None

    async def run(self, hear: Callable[[], None]) -> None:
        """Render the job to its end. Calls `hear` after each reply. Raises `WorkerDied`, with the job not ended."""
        self._recorder.begin(self.job)
        replies = self._worker.render(self._recorder.render_job(self.job, self._scheduler.weight(self.job)))
        try:
            async for reply in replies:
                hear()
                self._loading.run(isinstance(reply, Loading))
                if self._waits:
                    self._waits = False
                    self.job = await self._scheduler.begin(self.job)
                if self._early_end is None:  # else the worker has not read of it yet
                    await self._take(reply)
                self._last = reply
                hear()
            await self._ended_early()
        except WorkerDied:
            raise
        except Exception as error:
            log.exception("task lost", task=self.job.submission.task_uuid)
            message = "The result of this task could not be stored. The server's log has the details."
            await self._recorder.fail(self.job, message, error)
            with contextlib.suppress(WorkerDied):  # the job has ended, so nothing of it is lost
                self._worker.cancel(self.job.id)
                async for _ in replies:  # until the worker has let go of it
                    hear()
        finally:
            self._scheduler.release(self.job, self.seconds_used)

    async def lose(self, reason: str) -> None:
        """The worker has died. A job that had company begins again alone, for it may not be to blame; else it fails."""
        if await self._ended_early():
            return
        if not self.beside_others or not await self._scheduler.try_again(self.job):
            await self._recorder.fail(self.job, reason or "The worker process ended during this task.")
        else:
            await self._withdraw_cancelled()

    async def _ended_early(self) -> bool:
        """Whether the job was cancelled while it loaded. Its end is stored then."""
        if self._early_end is None:
            return False
        await self._early_end
        return True

    async def _take(self, reply: Reply) -> None:
        if isinstance(reply, Progress):
            self.progress = reply
            self._recorder.show(self.job, reply)
            self._ask_for_previews()
        elif isinstance(reply, Preview):
            self._recorder.show(self.job, reply)
        elif isinstance(reply, ImageWritten):
            self._written = reply.index
            self._used += reply.seconds if reply.busy is None else reply.busy
            await self._recorder.add_image(self.job, reply)
            if reply.measured is not None:
                await self._times.learn(self.job.submission.request, reply.measured)
            await self._consider_giving_way(reply.index + 1)
        elif isinstance(reply, Cancelled) and self._gives_way is not None and not self.cancelled:
            await self._put_back(self._gives_way)
        elif isinstance(reply, Outcome):
            await self._recorder.end(self.job, reply, self._cancel_reason, loaded=self._loading.seconds)

    def _ask_for_previews(self) -> None:
        """Ask the worker for previews while somebody watches. Looked at once a step: that is soon enough."""
        if (wanted := self._recorder.previews_wanted(self.job)) != self._watched:
            self._watched = wanted
            self._worker.watch(self.job.id, wanted)

    async def _consider_giving_way(self, images: int) -> None:
        """Stop a job after some of its images if it is the turn of another key. It continues with the others later."""
        request = self.job.submission.request
        left = self._times.estimates.remaining_seconds(request, images, 0)
        gives_way = images < request.count and await self._scheduler.gives_way(self.job, self._used, left)
        if gives_way and not self.cancelled:
            self._gives_way = left
            self._worker.cancel(self.job.id)

    async def _put_back(self, left: float) -> None:
        """Let a job wait for its other images. It may be cancelled meanwhile."""
        await self._scheduler.put_back(self.job, left)
        await self._withdraw_cancelled()

    async def _withdraw_cancelled(self) -> None:
        """Let a job that waits again not wait if it is cancelled."""
        if self.cancelled and (ended := await self._scheduler.withdraw(self.job, self._cancel_reason)):
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
