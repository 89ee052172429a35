"""Records what a worker reports about a job: first on disk, then to the watchers.

Knows no worker and no wire format.
"""

import asyncio
import sqlite3
import time
from dataclasses import replace

import structlog

from server.delivery.outbox import Delivery
from server.errors import Failure, InferenceError, InsufficientStorage
from server.jobs.events import Begun, Ended, JobEvents, PreviewReady, ResultReady, StepDone
from server.jobs.job import CANCELLED, Job, Result, State
from server.jobs.job_spans import record_end, record_image, record_wait
from server.jobs.storage.store import JobStore
from server.jobs.workers.messages import Cancelled, Failed, ImageWritten, Outcome, Output, Preview, Progress, RenderJob
from server.media.store import Media, MediaStore
from server.storage import MESSAGE, is_storage_error
from server.tracing.tracer import NO_TRACER, Tracer

log = structlog.get_logger()

# Between two tries to store an end.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 10.0


class JobRecorder:
    """Turns a job into work for a worker, and the worker's replies into rows and events."""

    def __init__(self, store: JobStore, media: MediaStore, events: JobEvents, tracer: Tracer = NO_TRACER) -> None:
        self._store = store
        self._media = media
        self._events = events
        self._tracer = tracer

    def render_job(self, job: Job, weight: float = 1.0) -> RenderJob:
        """The images of a job that are not rendered yet. An interrupted job may have some.

        `weight` is that of its owner.
        """
        work = job.submission
        finished = {result.index for result in job.results}
        outputs = tuple(
            Output(index, self._media.path_for(uuid, work.encoding.extension))
            for index, uuid in enumerate(work.image_uuids)
            if index not in finished
        )
        return RenderJob(
            job.id,
            work.request,
            work.encoding,
            outputs,
            work.task_uuid,
            work.safety,
            alone=job.tried,
            owner=work.owner,
            weight=weight,
            low=work.low,
        )

    def begin(self, job: Job) -> None:
        """Tell the watchers that a worker has a job."""
        self._events.publish_live(Begun(job))
        record_wait(self._tracer, job)

    def show(self, job: Job, reply: Progress | Preview) -> None:
        """Tell the watchers of a step, or show them a preview."""
        if isinstance(reply, Progress):
            self._events.publish_live(StepDone(job, reply.index, reply.step, reply.steps, reply.reused))
        else:
            self._events.publish_live(PreviewReady(job, reply.index, reply.step, reply.jpeg))

    def previews_wanted(self, job: Job) -> bool:
        """Whether somebody watches a job."""
        return self._events.has_live_watchers(job.submission.key)

    async def add_image(self, job: Job, image: ImageWritten) -> None:
        """Record an image that is in its file. One that is to be uploaded is not announced before that has ended."""
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
        result = Result(
            image.index,
            uuid,
            image.seed,
            image.seconds,
            image.receipt,
            image.cache,
            image.recompiled,
            unsafe=image.unsafe,
            busy=image.busy,
            overlapped=image.overlapped,
            together=image.together,
            batched_branches=image.batched_branches,
        )
        updated = await self._store.add_result(job.id, result, image.warnings)
        record_image(self._tracer, updated, image)
        if work.upload is None:
            self._events.publish(ResultReady(updated, result))

    async def end_upload(self, delivery: Delivery, error: str | None, failure: Failure | None) -> bool:
        """Record that the upload of an image has ended, and announce the image. False when its job is gone."""
        done = await self._store.deliveries.end_upload(delivery, error, failure)
        if done is None:
            return False
        self._events.publish(ResultReady(done.job, done.result))
        if done.ends_job:
            self.announce_end(done.job)
        return True

    async def end(self, job: Job, reply: Outcome, cancelled_for: Failure = CANCELLED, *, loaded: float = 0.0) -> None:
        """Record the end of a job as its worker reports it. Returns once it is stored.

        `cancelled_for` is why it was cancelled, if it was. `loaded` are the seconds of loading weights, for the log.
        While images are uploaded, the job goes on without its worker.
        """
        if isinstance(reply, Failed):
            ended = await self._store_end(job, "failed", reply.failure)
        elif isinstance(reply, Cancelled):
            ended = await self._store_end(job, "cancelled", cancelled_for)
        else:
            ended = await self._store_end(job, "done")
        if ended.ended:
            self.announce_end(ended, loaded)

    async def fail(self, job: Job, message: str, cause: Exception | None = None) -> None:
        """End a job that its worker did not end. Watchers hear of it at once, even if it cannot be stored yet.

        A `cause` that is a full disk is told as that.
        """
        failure = Failure("inferenceError", message, InferenceError.status)
        if is_storage_error(cause):
            failure = Failure(InsufficientStorage.default_code, MESSAGE, InsufficientStorage.status)
        try:
            ended = await self._store.end(job.id, "failed", failure)
        except sqlite3.Error:  # clients must not wait for ever
            log.exception("the end of a task cannot be stored yet", task=job.submission.task_uuid)
            self._events.publish(Ended(replace(job, state="failed", failure=failure)))
            await self._store_end(job, "failed", failure)
        else:
            if ended.ended:
                self.announce_end(ended)

    def announce_end(self, ended: Job, loaded: float = 0.0) -> None:
        """Tell the watchers of a job, and the log, that it has ended."""
        self._events.publish(Ended(ended))
        record_end(self._tracer, ended)
        _log_end(ended, loaded)

    async def _store_end(self, job: Job, state: State, failure: Failure | None = None) -> Job:
        """Store an end, again and again until it holds. Until then its worker takes no other job.

        On a full disk or a locked file nothing else can be stored either. A job left running would be "processing" for
        its client, and its id taken, until the next start.
        """
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                return await self._store.end(job.id, state, failure)
            except sqlite3.Error as error:
                log.error("the end of a task cannot be stored yet", task=job.submission.task_uuid, reason=str(error))
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)


def _log_end(job: Job, loaded: float) -> None:
    """One line about a task at its end. Times are in seconds; a clock that was set back must not make them negative."""
    work, request = job.submission, job.submission.request
    caches = [result.cache for result in job.results if result.cache is not None]
    cached = {"cache": caches[0].strategy, "reused": sum(cache.reused_steps for cache in caches)} if caches else {}
    begun = job.finished if job.started is None else job.started
    log.info(
        "task ended",
        task=work.task_uuid,
        state=job.state,
        model=request.model,
        size=f"{request.width}x{request.height}",
        waited=round(max(0.0, (begun or job.created) - job.created), 2),
        loaded=round(loaded, 2),
        images=len(job.results),
        seconds=round(sum(result.seconds for result in job.results), 2),
        steps=len(job.results) * request.executed_steps,
        **cached,
        **({} if job.failure is None else {"error": job.failure.code}),
        **({"delivery": job.deliveries} if job.deliveries else {}),
    )
