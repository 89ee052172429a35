"""One task in, its answers out: the part of the Runware surface that HTTP and WebSocket share.

Every way a task can fail ends here as an error object that names the task; nothing gets past as an exception.
"""

import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from typing import Any

import structlog
from pydantic_core import from_json
from starlette.datastructures import Headers

from server.api.client import Caller
from server.api.runware.check.validation import task_model
from server.api.runware.handlers.inference import Inference
from server.api.runware.handlers.library import Library
from server.api.runware.handlers.model_upload import ModelUploads
from server.api.runware.handlers.preprocessing import Preprocessing
from server.api.runware.handlers.retrieval import Retrieval
from server.api.runware.responses import Answer, Origin, refusal
from server.api.runware.schema.tasks import WireTask
from server.errors import ApiError, InternalServerError, InvalidRequest, Rejected, Unauthorized

log = structlog.get_logger()

# More than any client batches, and few enough that taking them up does not hold up other callers.
MAX_TASKS = 1000

Handler = Callable[[WireTask, Caller], AsyncIterator[Answer]]


class RunwareApi:
    """Dispatches tasks by type."""

    def __init__(
        self,
        inference: Inference,
        retrieval: Retrieval,
        library: Library,
        model_upload: ModelUploads,
        preprocessing: Preprocessing,
    ) -> None:
        self._handlers: dict[str, Handler] = {
            "imageInference": inference,
            "getResponse": retrieval.get_response,
            "getTaskDetails": retrieval.get_task_details,
            "imageUpload": library.image_upload,
            "controlNetPreprocess": preprocessing,
            "imageControlNetPreProcess": preprocessing,
            "mediaStorage": library.media_storage,
            "modelUpload": model_upload,
            "modelSearch": library.model_search,
            "accountManagement": library.account_management,
            "ping": library.ping,
        }

    async def handle(self, raw: Any, caller: Caller) -> AsyncIterator[Answer]:
        """Answer one task: one answer, or over a listening caller as many as there is something to say."""
        origin = origin_of(raw)
        documentation = f"{caller.base_url}/docs"
        try:
            if not isinstance(raw, dict):
                raise InvalidRequest("Each task must be a JSON object.")
            task_model(raw)
            async for answer in self._handlers[raw["taskType"]](raw, caller):
                yield answer
        except Rejected as rejected:
            yield refusal(rejected.errors, origin, documentation=documentation)
        except ApiError as error:
            yield refusal([error], origin, documentation=documentation)
        except Exception:
            log.exception("task failed", task=origin.task_uuid, type=origin.task_type)
            yield refusal([InternalServerError("Internal server error.")], origin)


class Keys:
    """The accepted API keys. Without any, every key is accepted and all callers own everything together."""

    def __init__(self, accepted: tuple[str, ...]) -> None:
        # A variable that is no UTF-8 is read as halves of characters; such a key just never matches.
        self._accepted = tuple(key.encode(errors="surrogateescape") for key in accepted)

    def owner(self, key: str | None) -> str:
        """Whose tasks a key's are. Raises `Unauthorized`."""
        if not self._accepted:
            return ""
        if not key:
            raise Unauthorized("Missing API key.", code="missingApiKey", parameter="apiKey")
        matches = [hmac.compare_digest(key.encode(), accepted) for accepted in self._accepted]
        if not any(matches):
            raise Unauthorized("Invalid API key.", parameter="apiKey")
        return hashlib.sha256(key.encode()).hexdigest()[:16]


def bearer_key(headers: Headers) -> str | None:
    """The key of an `Authorization: Bearer` header. Headers are bytes, read as Latin-1; ours are UTF-8."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.encode("latin-1").decode(errors="replace").strip() or None if scheme.lower() == "bearer" else None


def parse_tasks(body: bytes | str) -> list[Any]:
    """The array of a request. Raises `InvalidRequest`."""
    try:
        tasks = from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise InvalidRequest(f"The request is not valid JSON: {error}.") from error
    if not isinstance(tasks, list):
        raise InvalidRequest("The request must be a JSON array of task objects.")
    if not tasks:
        raise InvalidRequest("The request holds no task.")
    if len(tasks) > MAX_TASKS:
        raise InvalidRequest(f"The request holds {len(tasks)} tasks; at most {MAX_TASKS} can be sent at once.")
    return tasks


def origin_of(raw: Any) -> Origin:
    """The task an answer belongs to, as far as the client told it in a usable form."""
    if not isinstance(raw, dict):
        return Origin()
    told = [raw.get(name) for name in ("taskType", "taskUUID")]
    return Origin(*(value if isinstance(value, str) else None for value in told))
