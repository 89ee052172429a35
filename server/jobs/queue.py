"""The queue: accepts jobs, hands them to the workers one after the other, and tells who waits for them.

Order is first come, first served. A job is on disk before `submit` returns; what was running when the process ended
is drawn again at the next start. Knows no wire format.
"""

import asyncio
import contextlib
import functools
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import structlog

from server.errors import ServiceUnavailable
from server.jobs.backend import Worker, WorkerDied, WorkerStartFailed
from server.jobs.job import CANCELLED, Failure, Job, Result, Submission
from server.jobs.messages import (
    Cancelled,
    Failed,
    ImageWritten,
    Output,
    Progress,
    RenderJob,
    Reply,
)
from server.jobs.store import JobStore
from server.media.store import Media, MediaStore
from server.metrics import Metrics

log = structlog.get_logger()

# Ended jobs can be asked for this long; the vendor states no figure.
RETENTION_SECONDS = 7 * 86_400
RESTART_PAUSE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ResultReady:
    """One more image of a job is finished and found by its UUID."""

    job: Job
    result: Result


@dataclass(frozen=True, slots=True)
class Ended:
    """A job is done, failed or cancelled."""

    job: Job


@dataclass(frozen=True, slots=True)
class Stopping:
    """The server stops; the job goes on at its next start."""


Event = ResultReady | Ended | Stopping
Key = tuple[str, str]


class JobQueue:
    """Jobs of one data folder, and the workers that draw them."""

    def __init__(
        self,
        store: JobStore,
        media: MediaStore,
        workers: Sequence[Worker],
        *,
        limit: int,
        metrics: Metrics | None = None,
    ) -> None:
        self._store = store
        self._media = media
        self._workers = workers
        self._limit = limit
        self._metrics = metrics or Metrics()
        self._watchers: dict[Key, set[asyncio.Queue[Event]]] = defaultdict(set)
        self._progress: dict[Key, Progress] = {}
        self._running: dict[Key, tuple[Job, Worker]] = {}
        self._drivers: list[asyncio.Task[None]] = []
        self._ready: set[Worker] = set()
        self._tried = {worker: asyncio.Event() for worker in workers}
        self._news = {worker: asyncio.Event() for worker in workers}  # a job to claim, or its own end
        self.failure: str | None = None

    @property
    def ready(self) -> bool:
        """Whether at least one worker takes jobs."""
        return bool(self._ready)

    @property
    def devices(self) -> tuple[str, ...]:
        """The workers' devices, in words."""
        return tuple(worker.description for worker in self._workers)

    async def started(self) -> None:
        """Wait until every worker is ready or has said that it cannot be."""
        await asyncio.gather(*(tried.wait() for tried in self._tried.values()))

    async def open(self) -> None:
        """Queue again what was interrupted, and start the workers without waiting for them."""
        if count := await self._store.requeue_interrupted():
            log.info("interrupted tasks go on", tasks=count)
        self._drivers = [asyncio.create_task(self._drive(worker)) for worker in self._workers]

    async def close(self) -> None:
        """Stop the workers. A job under way stays on disk as running, and is drawn at the next start."""
        for driver in self._drivers:
            driver.cancel()
        await asyncio.gather(*self._drivers, return_exceptions=True)
        await asyncio.gather(*(worker.stop() for worker in self._workers))

    async def submit(self, submission: Submission) -> Job:
        """Accept a job: on disk when this returns.

        Raises `ConflictTaskUUID`, `RateLimitExceeded`, or `ServiceUnavailable` when no worker can start.
        """
        if self.failure is not None and not self.ready:
            raise ServiceUnavailable(f"No renderer: {self.failure}", code="modelNotReady")
        job = await self._store.accept(submission, limit=self._limit)
        for news in self._news.values():
            news.set()
        return job

    async def find(self, owner: str, task_uuid: str) -> Job | None:
        """The job of a task, or None."""
        return await self._store.find(owner, task_uuid)

    def progress(self, job: Job) -> int:
        """How much of a job is done, in percent of all its steps."""
        count = job.submission.request.count
        done = float(len(job.results))
        if latest := self._progress.get(job.submission.key):
            done = max(done, latest.index + latest.step / latest.steps)
        return int(100 * done / count)

    async def cancel(self, owner: str, task_uuid: str) -> bool:
        """Cancel a job that waits, at once, or that runs, at its next step. False when it has ended."""
        if job := await self._store.cancel_queued(owner, task_uuid):
            self._metrics.ended(job)
            self._tell(Ended(job))
            return True
        if running := self._running.get((owner, task_uuid.lower())):
            job, worker = running
            worker.cancel(job.id)
            return True
        return False

    @contextlib.contextmanager
    def watch(self, key: Key) -> Iterator[asyncio.Queue[Event]]:
        """Receive the events of a job; enter before submitting it, so that none is missed."""
        events: asyncio.Queue[Event] = asyncio.Queue()
        self._watchers[key].add(events)
        try:
            yield events
        finally:
            self._watchers[key].discard(events)
            if not self._watchers[key]:
                del self._watchers[key]

    def announce_stop(self) -> None:
        """Tell everyone who waits that nothing more will come."""
        for watchers in self._watchers.values():
            for events in watchers:
                events.put_nowait(Stopping())

    async def waiting(self) -> int:
        """How many jobs wait for a worker."""
        return await self._store.count_queued()

    async def sweep(self) -> None:
        """Forget jobs that ended long ago."""
        await self._store.forget(time.time() - RETENTION_SECONDS)

    def _tell(self, event: ResultReady | Ended) -> None:
        for events in self._watchers.get(event.job.submission.key, ()):
            events.put_nowait(event)

    async def _drive(self, worker: Worker) -> None:
        """Keep one worker alive and busy."""
        while True:
            try:
                await worker.start(functools.partial(self._lost, worker))
                self._ready.add(worker)
                self._tried[worker].set()
                while True:
                    await self._run(await self._next(worker), worker)
            except WorkerStartFailed as error:
                self.failure = str(error)
                log.error("worker cannot start", device=worker.device, reason=str(error))
                self._tried[worker].set()
                return
            except WorkerDied:
                log.error("worker died, starting it again", device=worker.device)
            except Exception:
                # It may be in the middle of a job, and the replies to that must not be read as those to the next.
                log.exception("task lost, starting its worker again", device=worker.device)
                await worker.stop()
            self._ready.discard(worker)
            await asyncio.sleep(RESTART_PAUSE_SECONDS)

    def _lost(self, worker: Worker) -> None:
        self._ready.discard(worker)
        self._news[worker].set()

    async def _next(self, worker: Worker) -> Job:
        """Wait for a job. Raises `WorkerDied` when the worker ends before there is one."""
        news = self._news[worker]
        while True:
            news.clear()
            if worker not in self._ready:
                raise WorkerDied
            try:
                job = await self._store.claim()
            except Exception:
                log.exception("no task can be taken from the disk")
                await asyncio.sleep(RESTART_PAUSE_SECONDS)
                continue
            if job is not None:
                return job
            await news.wait()

    async def _run(self, job: Job, worker: Worker) -> None:
        key = job.submission.key
        self._running[key] = (job, worker)
        try:
            async for reply in worker.render(self._render_job(job)):
                if isinstance(reply, Progress):
                    self._progress[key] = reply
                elif isinstance(reply, ImageWritten):
                    await self._keep(job, reply)
                else:
                    await self._end(job, reply)
        except WorkerDied:
            await self._fail(job, "The renderer ended while it drew this task.")
            raise
        except Exception:
            await self._fail(job, "The result of this task could not be kept. The server's log has the details.")
            raise
        finally:
            self._running.pop(key, None)
            self._progress.pop(key, None)

    def _render_job(self, job: Job) -> RenderJob:
        work = job.submission
        drawn = {result.index for result in job.results}
        outputs = tuple(
            Output(index, self._media.path_for(uuid, work.encoding.extension))
            for index, uuid in enumerate(work.image_uuids)
            if index not in drawn
        )
        return RenderJob(job.id, work.request, work.encoding, outputs)

    async def _keep(self, job: Job, image: ImageWritten) -> None:
        work = job.submission
        uuid = work.image_uuids[image.index]
        now = time.time()
        media = Media(
            uuid=uuid,
            kind="result",
            owner=work.owner,
            path=self._media.path_for(uuid, work.encoding.extension),
            mime=work.encoding.mime,
            width=image.width,
            height=image.height,
            sha256=image.sha256,
            created=now,
            expires=now + work.ttl,
        )
        await self._media.adopt(media)
        result = Result(image.index, uuid, image.seed, image.seconds, image.receipt, image.cache)
        kept = await self._store.add_result(job.id, result, image.warnings)
        self._metrics.image(kept, result)
        self._tell(ResultReady(kept, result))

    async def _fail(self, job: Job, message: str) -> None:
        failure = Failure("inferenceError", message)
        try:
            ended = await self._store.end(job.id, "failed", failure)
        except sqlite3.Error:  # nobody should wait for ever; on disk it is still running, and drawn at the next start
            log.exception("the end of a task cannot be kept", task=job.submission.task_uuid)
            ended = replace(job, state="failed", failure=failure)
        self._metrics.ended(ended)
        self._tell(Ended(ended))

    async def _end(self, job: Job, reply: Reply) -> None:
        if isinstance(reply, Failed):
            ended = await self._store.end(job.id, "failed", Failure(reply.code, reply.message, reply.parameter))
        elif isinstance(reply, Cancelled):
            ended = await self._store.end(job.id, "cancelled", CANCELLED)
        else:
            ended = await self._store.end(job.id, "done")
        self._metrics.ended(ended)
        self._tell(Ended(ended))
        request = ended.submission.request
        caches = [result.cache for result in ended.results if result.cache is not None]
        cached = {"cache": caches[0].strategy, "reused": sum(cache.reused_steps for cache in caches)} if caches else {}
        log.info(
            "task ended",
            task=ended.submission.task_uuid,
            state=ended.state,
            model=request.model,
            size=f"{request.width}x{request.height}",
            images=len(ended.results),
            seconds=round(sum(result.seconds for result in ended.results), 2),
            **cached,
        )
