"""The spans of a job: its wait in the queue, each image with its phases, and the whole.

A job that was accepted without a trace has none. Knows no OpenTelemetry.
"""

import time

from server.jobs.job import Job
from server.jobs.workers.messages import ImageWritten
from server.tracing.tracer import Tracer


def record_wait(tracer: Tracer, job: Job) -> None:
    """A worker has begun a job. One that had images before did not wait since it was accepted."""
    parent = job.submission.traceparent
    if parent is not None and job.started is not None and not job.results:
        tracer.record("queue", parent, job.created, job.started, _attributes(job))


def record_image(tracer: Tracer, job: Job, image: ImageWritten) -> None:
    """An image is in its file, after these phases."""
    if (parent := job.submission.traceparent) is None:
        return
    begun = image.phases[0].begun if image.phases else time.time() - image.seconds
    ended = image.phases[-1].ended if image.phases else time.time()
    about = _attributes(job) | {"ownware.image": image.index, "ownware.seed": str(image.seed)}
    if image.together > 1:
        about |= {"ownware.together": image.together}
    if image.cache is not None:
        about |= {"ownware.cache": image.cache.strategy, "ownware.reused_steps": image.cache.reused_steps}
    if (inside := tracer.record("image", parent, begun, ended, about)) is not None:
        for phase in image.phases:
            tracer.record(phase.name, inside, phase.begun, phase.ended, _attributes(job))


def record_end(tracer: Tracer, job: Job) -> None:
    """A job has ended, however."""
    if (parent := job.submission.traceparent) is None:
        return
    request, failure = job.submission.request, job.failure
    about = _attributes(job) | {
        "ownware.state": job.state,
        "ownware.model": request.model,
        "ownware.size": f"{request.width}x{request.height}",
        "ownware.steps": request.executed_steps,
        "ownware.images": len(job.results),
    }
    ended = job.finished if job.finished is not None else time.time()
    tracer.record("task", parent, job.created, ended, about, None if failure is None else failure.code)


def _attributes(job: Job) -> dict[str, str | int | float | bool]:
    return {"ownware.task_uuid": job.submission.task_uuid}
