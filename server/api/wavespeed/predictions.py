"""The JSON of predictions, errors and envelopes. No value is null, because one client checks none."""

import asyncio
import base64
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from server.api.urls.image_urls import image_url
from server.api.wavespeed.failures import TIMEOUT, code_of, text_of
from server.errors import ApiError
from server.jobs.job import Job, State
from server.media.store import MediaStore
from server.tasks.endings.deadlines import TIMED_OUT
from server.tasks.endings.expired_images import without_expired

Json = dict[str, Any]

ROOT = "/api/v3"
GAVE_UP = "Sync mode timed out. The prediction goes on; ask for its result."
STATUSES: dict[State, str] = {
    "queued": "created",
    "running": "processing",
    "done": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
}
_FORBIDDEN = "429"  # one client submits again when a failure's text, with the id in it, holds this


def new_id() -> str:
    """The id of a new prediction: 32 hexadecimal digits."""
    while _FORBIDDEN in (found := uuid.uuid4().hex):
        pass
    return found


def envelope(data: Json | list[Json]) -> Json:
    """A successful answer."""
    return {"code": 200, "message": "success", "data": data}


def error_json(error: ApiError) -> Json:
    """A request that cannot be answered. `code` repeats the HTTP status."""
    return {"code": error.status, "message": error.message, "error_code": error.code}


def status_of(job: Job) -> str:
    """The vendor's word for the state of a prediction."""
    timed_out = job.failure is not None and job.failure.code == TIMED_OUT.code
    return "timeout" if timed_out else STATUSES[job.state]


def prediction_json(job: Job, base_url: str, outputs: Sequence[str] = ()) -> Json:
    """A prediction with its outputs."""
    work = job.submission
    done = job.results if job.state == "done" else ()
    seconds = sum(result.seconds for result in done)
    found: Json = {
        "id": work.task_uuid,
        "model": work.task.get("model", ""),
        "outputs": list(outputs),
        "urls": {"get": f"{base_url}{ROOT}/predictions/{work.task_uuid}/result"},
        "has_nsfw_contents": [bool(result.unsafe) for result in done],
        "status": status_of(job),
        "created_at": _timestamp(job.created),
        "error": "",
        "timings": {"inference": round(1000 * seconds)},
        "executionTime": _milliseconds(job),
    }
    if job.failure is not None:
        found["error"] = text_of(job.failure)
        if (code := code_of(job.failure)) is not None:
            found["code"] = code
    return found


def input_json(job: Job) -> Json:
    """The body of the submission. The stored task has the model beside it, which the path named."""
    return {name: value for name, value in job.submission.task.items() if name != "model"}


def given_up(job: Job, base_url: str) -> Json:
    """A prediction that goes on after the longest wait of sync mode."""
    return prediction_json(job, base_url) | {"status": "processing", "code": TIMEOUT, "error": GAVE_UP}


async def current_json(job: Job, base_url: str, media: MediaStore, *, inline: bool = True) -> Json:
    """A prediction with the outputs that are still there. Without `inline` only those that are URLs."""
    job = await without_expired(job, media)
    wanted = inline or not job.submission.task.get("enable_base64_output")
    return prediction_json(job, base_url, await _outputs(job, base_url, media) if wanted else ())


async def _outputs(job: Job, base_url: str, media: MediaStore) -> list[str]:
    """The images of a finished prediction, as URLs or as data URIs. Of any other one, nothing."""
    work = job.submission
    if job.state != "done":
        return []
    if not work.task.get("enable_base64_output"):
        return [image_url(base_url, result.image_uuid, work.encoding.extension) for result in job.results]
    found = [await media.get(result.image_uuid, owner=work.owner) for result in job.results]
    return [
        f"data:{each.mime};base64," + base64.b64encode(await asyncio.to_thread(each.path.read_bytes)).decode("ascii")
        for each in found
        if each is not None  # it has expired this moment
    ]


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _milliseconds(job: Job) -> int:
    """The time in the worker."""
    if job.started is None or job.finished is None:
        return 0
    return max(0, round(1000 * (job.finished - job.started)))
