"""EvoLink's dialect: parses requests; renders tasks and errors."""

from dataclasses import dataclass
from typing import Any, Literal

from pipelines.catalog.catalog import Catalog, ModelEntry
from server.api.access.client import Client
from server.api.evolink.fields import MAX_NEGATIVE, MAX_SIDE, MIN_SIDE, PICTURE_SIDES, CreateFields
from server.api.fields.extensions import EXTENSION_NAMES
from server.api.fields.sizes import parse_size
from server.api.urls.image_urls import image_url, picture_text
from server.delivery.targets import Webhook
from server.errors import ApiError, Failure, InvalidParameter
from server.jobs.job import Job, State
from server.media.encode import DEFAULT_QUALITY, Encoding
from server.tasks.lora_library import LoraLibrary
from server.tasks.pictures.picture_rules import DIMENSIONS
from server.tasks.plain.parameter_names import parameter_at_fault
from server.tasks.plain.plain_task import PlainTask, to_spec
from server.tasks.spec import TaskSpec

NAME = "evolink"
Json = dict[str, Any]
TaskState = Literal["pending", "processing", "completed", "failed"]

LINK_SECONDS = 86_400  # "Generated image links are valid for 24 hours"
CALLBACK_DELAYS = (1.0, 2.0, 4.0)  # seconds between the tries
WATERMARK = "Qwen-Image"
_NAMES = {**EXTENSION_NAMES, "references": "image_urls", "references[]": "image_urls[]", "seed_image": "image_urls[0]"}
_NAMES |= {"width": "size", "height": "size", "task_id": "Idempotency-Key", "webhook": "callback_url"}
STATES: dict[State, TaskState] = {
    "queued": "pending",
    "running": "processing",
    "done": "completed",
    "failed": "failed",
    "cancelled": "failed",
}
# Our codes of failures, and the vendor's of tasks. Others follow from the HTTP status.
_TASK_CODES = {
    "taskCancelled": "request_cancelled",
    "imageNotFound": "resource_not_found",
    DIMENSIONS: "image_dimension_mismatch",
    "invalidImage_urls": "image_processing_error",  # it cannot be fetched or read
}
_TASK_STATUS_CODES = {503: "service_unavailable", 504: "generation_timeout"}


@dataclass(frozen=True, slots=True)
class CreateCall:
    """One request with validated fields. `sent` is the whole body."""

    task_id: str
    fields: CreateFields
    sent: Json


class EvoLinkDialect:
    """See `server.api.dialect.Dialect`. `progress` is in percent of all steps."""

    def __init__(self, loras: LoraLibrary) -> None:
        self._loras = loras

    def parse(self, request: CreateCall, client: Client) -> TaskSpec:
        """The spec of a request. Raises `TaskRejected` or another `ApiError`."""
        fields, catalog = request.fields, self._loras.catalog(client.owner)
        plain = PlainTask(
            model=_model(fields.model, catalog),
            prompt=fields.prompt,
            encoding=Encoding("PNG", DEFAULT_QUALITY),  # PNG has no quality
            negative_prompt=fields.negative_prompt,
            images=tuple(picture_text(text, client.base_url) for text in fields.image_urls),
            picture_sides=PICTURE_SIDES,
            size=_size(fields.size),
            seed=fields.seed,
            count=fields.n,
            watermark=WATERMARK if fields.watermark else None,
            names=_NAMES,
            **fields.plain_options,
        )
        callback = fields.callback_url
        webhook = None if callback is None else Webhook(callback, client.base_url, CALLBACK_DELAYS)
        return to_spec(
            plain,
            catalog,
            owner=client.owner,
            dialect=NAME,
            task_id=request.task_id,
            task=request.sent,
            wait=False,
            ttl=LINK_SECONDS,
            webhook=webhook,
            warnings=tuple(_warnings(request)),
        )

    def acknowledge(self, job: Job, progress: int = 0, seconds: int = 0) -> Json:
        """The task as it is, without its links. `seconds` is the estimated time of its rendering."""
        return {
            "created": int(job.created),
            "id": job.submission.task_uuid,
            "model": job.submission.task.get("model", job.submission.request.model),
            "object": "image.generation.task",
            "progress": 100 if job.state == "done" else progress,
            "status": STATES[job.state],
            "task_info": {"can_cancel": not job.ended, "estimated_time": seconds},
            "type": "image",
            "usage": {"billing_rule": "per_call", "credits_reserved": 0, "user_group": "default"},
        }

    def task(self, job: Job, base_url: str, progress: int = 0, seconds: int = 0) -> Json:
        """The task with the links of its images when it is done, and with its error when it failed."""
        item = self.acknowledge(job, progress, seconds)
        if job.state == "done":
            extension = job.submission.encoding.extension
            item["results"] = [image_url(base_url, result.image_uuid, extension) for result in job.results]
        elif job.failure is not None:
            item["error"] = {"code": task_code(job.failure), "message": job.failure.message, "type": "task_error"}
        return item

    def error(self, failure: Failure | ApiError, job: Job | None = None) -> Json:
        """The vendor's error object of a request that is refused."""
        code, kind = _HTTP.get(failure.status, _HTTP[500] if failure.status >= 500 else _HTTP[400])
        if failure.code in _OWN_CODES:
            code = _OWN_CODES[failure.code]
        item = {"code": code, "message": failure.message, "type": kind}
        if (parameter := parameter_at_fault(failure, _NAMES)) is not None:
            item["param"] = parameter
        return {"error": item}


def task_code(failure: Failure) -> str:
    """The vendor's code of a failed task."""
    if failure.code in _TASK_CODES:
        return _TASK_CODES[failure.code]
    if failure.status in _TASK_STATUS_CODES:
        return _TASK_STATUS_CODES[failure.status]
    return "service_error" if failure.status >= 500 else "invalid_parameters"


# HTTP status → code and type of a request that is refused
_HTTP = {
    400: ("invalid_request", "invalid_request_error"),
    401: ("unauthorized", "authentication_error"),
    403: ("permission_denied", "invalid_request_error"),
    404: ("not_found", "invalid_request_error"),
    413: ("request_too_large", "request_too_large_error"),
    429: ("rate_limit_exceeded", "rate_limit_error"),
    500: ("internal_error", "api_error"),
}
# Ours where the vendor has one of its own
_OWN_CODES = {"taskNotFound": "task_not_found", "invalidTaskId": "invalid_task_id"}


def _model(name: str, catalog: Catalog) -> ModelEntry:
    if named := catalog.named(NAME, name):
        return named[0]
    raise InvalidParameter("model", f"Invalid value for 'model' parameter. The model '{name}' is not served here.")


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    try:
        return parse_size(text, MIN_SIDE, MAX_SIDE)
    except ValueError as error:
        raise InvalidParameter("size", f"Invalid value for 'size' parameter. It {error}.") from error


def _warnings(request: CreateCall) -> list[str]:
    warnings = []
    if request.fields.prompt_extend:
        warnings.append("prompt_extend is ignored: nothing rewrites prompts here.")
    sent = request.sent.get("negative_prompt")
    if isinstance(sent, str) and len(sent) > MAX_NEGATIVE:
        warnings.append(f"negative_prompt is cut to {MAX_NEGATIVE} of {len(sent)} characters.")
    return warnings
