"""Records what a worker reports about a job: first on disk, then to the watchers.

Knows no worker and no wire format.
"""

import sqlite3
import time
from dataclasses import replace

import structlog

from server.errors import Failure, InferenceError
from server.jobs.events import Ended, JobEvents, ResultReady
from server.jobs.job import CANCELLED, Job, Result
from server.jobs.messages import Cancelled, Failed, ImageWritten, Outcome, Output, RenderJob
from server.jobs.store import JobStore
from server.media.store import Media, MediaStore

log = structlog.get_logger()


class JobRecorder:
    """Turns a job into work for a worker, and the worker's replies into rows and events."""

    def __init__(self, store: JobStore, media: MediaStore, events: JobEvents) -> None:
        self._store = store
        self._media = media
        self._events = events

    def render_job(self, job: Job) -> RenderJob:
        """What is left to render of a job: an interrupted one may have some of its images."""
        work = job.submission
        finished = {result.index for result in job.results}
        outputs = tuple(
            Output(index, self._media.path_for(uuid, work.encoding.extension))
            for index, uuid in enumerate(work.image_uuids)
            if index not in finished
        )
        return RenderJob(job.id, work.request, work.encoding, outputs)

    async def add_image(self, job: Job, image: ImageWritten) -> None:
        """Record an image that is in its file."""
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
        updated = await self._store.add_result(job.id, result, image.warnings)
        self._events.publish(ResultReady(updated, result))

    async def end(self, job: Job, reply: Outcome) -> None:
        """Record the end of a job as its worker reports it."""
        if isinstance(reply, Failed):
            ended = await self._store.end(job.id, "failed", reply.failure)
        elif isinstance(reply, Cancelled):
            ended = await self._store.end(job.id, "cancelled", CANCELLED)
        else:
            ended = await self._store.end(job.id, "done")
        self._events.publish(Ended(ended))
        _log_end(ended)

    async def fail(self, job: Job, message: str) -> None:
        """End a job that its worker did not end."""
        failure = Failure("inferenceError", message, InferenceError.status)
        try:
            ended = await self._store.end(job.id, "failed", failure)
        except (
            sqlite3.Error
        ):  # clients must not wait for ever; on disk the job still runs, and the next start renders it
            log.exception("the end of a task cannot be recorded", task=job.submission.task_uuid)
            ended = replace(job, state="failed", failure=failure)
        self._events.publish(Ended(ended))


def _log_end(job: Job) -> None:
    request = job.submission.request
    caches = [result.cache for result in job.results if result.cache is not None]
    cached = {"cache": caches[0].strategy, "reused": sum(cache.reused_steps for cache in caches)} if caches else {}
    log.info(
        "task ended",
        task=job.submission.task_uuid,
        state=job.state,
        model=request.model,
        size=f"{request.width}x{request.height}",
        images=len(job.results),
        seconds=round(sum(result.seconds for result in job.results), 2),
        **cached,
    )
