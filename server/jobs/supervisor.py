"""Keeps one worker alive and busy: starts it, gives it one job after the other, starts it again when it dies.

Knows no wire format. What the worker reports goes to the recorder.
"""

import asyncio
from typing import Literal

import structlog

from pipelines.models.engaged import Engaged
from server.errors import Failure
from server.jobs.backend import Worker, WorkerDied, WorkerStartFailed
from server.jobs.job import CANCELLED, Job
from server.jobs.messages import ImageWritten, Outcome, Progress
from server.jobs.recorder import JobRecorder
from server.jobs.store import JobStore

log = structlog.get_logger()

RESTART_PAUSE_SECONDS = 1.0
WorkerState = Literal["starting", "idle", "busy", "failed"]


class Supervisor:
    """One worker, the job that it renders now, and how far that is."""

    def __init__(self, worker: Worker, store: JobStore, recorder: JobRecorder) -> None:
        self._worker = worker
        self._store = store
        self._recorder = recorder
        self._started = asyncio.Event()
        self._wake_up = asyncio.Event()  # there may be a job to claim, or the worker has ended
        self._stopping = False
        self._cancel_reason = CANCELLED
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
        """Stop the job that the worker renders now, at its next step, for a reason that its failure keeps."""
        if self.job is not None:
            self._cancel_reason = reason
            self._worker.cancel(self.job.id)

    def announce_stop(self) -> None:
        """From now on the worker's end is no error: a signal to the process group ends it first."""
        self._stopping = True

    async def stop(self) -> None:
        """End the worker."""
        await self._worker.stop()

    async def run(self) -> None:
        """Render jobs until cancelled, until the server stops, or until the worker cannot start.

        Whatever else ends the driving of the worker, `ready` is false and it begins again.
        """
        while self.start_failure is None and not self._stopping:
            try:
                await self._drive()
            except Exception:
                self.ready = False
                log.exception("the supervisor of a worker failed, and starts again", device=self._worker.device)
            if self.start_failure is None and not self._stopping:
                await asyncio.sleep(RESTART_PAUSE_SECONDS)

    async def _drive(self) -> None:
        """Start the worker and render jobs until it ends."""
        try:
            await self._worker.start(self._on_worker_end)
            self.ready = True
            self._started.set()
            while True:
                await self._render(await self._next_job())
        except WorkerStartFailed as error:
            self.start_failure = str(error)
            self._started.set()
            log.error("worker cannot start", device=self._worker.device, reason=str(error))
        except WorkerDied:
            if not self._stopping:
                log.error("worker died, starting it again", device=self._worker.device)
        except Exception:
            # The worker may be in the middle of a job. Its replies must not be read as those to the next job.
            self.ready = False
            log.exception("task lost, starting its worker again", device=self._worker.device)
            await self._worker.stop()
        finally:
            self.ready = False

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
                job = await self._store.claim()
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
        try:
            async for reply in self._worker.render(self._recorder.render_job(job)):
                if isinstance(reply, Progress):
                    self.progress = reply
                elif isinstance(reply, ImageWritten):
                    await self._recorder.add_image(job, reply)
                elif isinstance(reply, Outcome):
                    await self._recorder.end(job, reply, self._cancel_reason)
        except WorkerDied:
            if not self._stopping:  # else the task continues at the next start
                await self._recorder.fail(job, "The worker process ended during this task.")
            raise
        except Exception:
            message = "The result of this task could not be stored. The server's log has the details."
            await self._recorder.fail(job, message)
            raise
        finally:
            self.job = self.progress = None
