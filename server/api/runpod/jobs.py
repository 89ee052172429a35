"""The JSON of jobs and errors. Keys that do not apply are left out, never null: clients stop at any `error`."""

from typing import Any

from server.api.urls.image_urls import image_url
from server.errors import ApiError
from server.jobs.job import Job, State
from server.tasks.endings.deadlines import TIMED_OUT

Json = dict[str, Any]

WORKER = "local"  # the vendor's identifier of a machine; there is one
_STATES: dict[State, str] = {
    "queued": "IN_QUEUE",
    "running": "IN_PROGRESS",
    "done": "COMPLETED",
    "failed": "FAILED",
    "cancelled": "CANCELLED",
}


def status_of(job: Job) -> str:
    """The vendor's word for the state of a job."""
    timed_out = job.failure is not None and job.failure.code == TIMED_OUT.code
    return "TIMED_OUT" if timed_out else _STATES[job.state]


def job_json(job: Job, base_url: str) -> Json:
    """A job with all that is known of it. Times are in milliseconds."""
    status = status_of(job)
    found: Json = {"id": job.submission.task_uuid, "status": status}
    if job.started is not None:
        found["delayTime"] = _milliseconds(job.created, job.started)
        if job.finished is not None:
            found |= {"executionTime": _milliseconds(job.started, job.finished), "workerId": WORKER}
    if output := output_json(job, base_url):
        found["output"] = output
    elif status in ("FAILED", "TIMED_OUT") and job.failure is not None:
        found["error"] = job.failure.message
    return found


def output_json(job: Job, base_url: str) -> Json:
    """The output of a finished job; of any other one, nothing. The vendor's pages name one key, its clients another."""
    if job.state != "done" or not job.results:
        return {}
    url = image_url(base_url, job.results[0].image_uuid, job.submission.encoding.extension)
    return {"image_url": url, "result": url, "cost": 0}  # your own GPU costs nothing


def error_json(error: ApiError) -> Json:
    """A request that cannot be answered."""
    return {"error": error.message}


def _milliseconds(start: float, end: float) -> int:
    return max(0, round(1000 * (end - start)))
