"""Dispatches a task to the handler of its type. HTTP and WebSocket share it.

Every failure of a task becomes an error object here. No exception leaves this module.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any

import structlog

from server.api.access.client import Client
from server.api.bodies.body_pool import BodyPool
from server.api.json_input.bounds import MAX_NAME
from server.api.json_input.parsing import check_object, parse_json
from server.api.json_input.texts import is_text
from server.api.runware.check.sent_names import as_sent
from server.api.runware.check.validation import task_model
from server.api.runware.handlers.account import Account
from server.api.runware.handlers.cancelling import Cancelling
from server.api.runware.handlers.inference import Inference
from server.api.runware.handlers.library import ModelLibrary
from server.api.runware.handlers.model_upload import ModelUploads
from server.api.runware.handlers.pictures import Pictures
from server.api.runware.handlers.preprocessing import Preprocessing
from server.api.runware.handlers.retrieval import Retrieval
from server.api.runware.responses import Answer, TaskRef, refusal
from server.api.runware.schema.tasks import WireTask
from server.errors import ApiError, InvalidRequest, TaskRejected
from server.storage import unforeseen_error

log = structlog.get_logger()

# More than any client batches, and few enough that other clients are not delayed.
MAX_TASKS = 1000
_READING = frozenset({"getResponse", "getTaskDetails"})

Handler = Callable[[WireTask, Client], AsyncIterator[Answer]]


class RunwareApi:
    """Dispatches tasks by type."""

    def __init__(
        self,
        inference: Inference,
        preprocessing: Preprocessing,
        pictures: Pictures,
        model_uploads: ModelUploads,
        retrieval: Retrieval,
        cancelling: Cancelling,
        models: ModelLibrary,
        account: Account,
        pool: BodyPool,
    ) -> None:
        self._pool = pool
        self._handlers: dict[str, Handler] = {
            "imageInference": inference,
            "controlNetPreprocess": preprocessing,
            "imageControlNetPreProcess": preprocessing,
            "imageUpload": pictures.image_upload,
            "mediaStorage": pictures.media_storage,
            "modelUpload": model_uploads,
            "getResponse": retrieval.get_response,
            "getTaskDetails": retrieval.get_task_details,
            "cancelTask": cancelling,
            "modelSearch": models,
            "accountManagement": account.account_management,
            "ping": account.ping,
        }

    async def handle(self, raw: Any, client: Client) -> AsyncIterator[Answer]:
        """Answer one task. A listening client may get several answers."""
        ref = task_ref(raw)
        documentation = f"{client.base_url}/docs"
        try:
            await self._pool.run(client.size, check_task, raw)
            async for answer in self._handlers[raw["taskType"]](raw, client):
                yield answer
        except TaskRejected as rejected:
            yield refusal(as_sent(rejected.errors, raw), ref, documentation=documentation)
        except ApiError as error:
            errors = as_sent([error], raw) if isinstance(raw, dict) else [error]
            yield refusal(errors, ref, documentation=documentation)
        except Exception as error:
            log.exception("task failed", task=ref.task_uuid, type=ref.task_type)
            yield refusal([unforeseen_error(error)], ref)


def check_task(raw: Any) -> None:
    """Check what every task must have: few and short values, whole characters and a known type.

    Raises `InvalidRequest` or `TaskRejected`.
    """
    if not isinstance(raw, dict):
        raise InvalidRequest("Each task must be a JSON object.")
    check_object(raw)
    task_model(raw)


def parse_tasks(body: bytes | bytearray | str) -> list[Any]:
    """The array of a request, with each task that only reads once. Raises `InvalidRequest`."""
    tasks = parse_json(body)
    if not isinstance(tasks, list):
        raise InvalidRequest("The request must be a JSON array of task objects.")
    if not tasks:
        raise InvalidRequest("The request has no task.")
    if len(tasks) > MAX_TASKS:
        raise InvalidRequest(f"The request has {len(tasks)} tasks. At most {MAX_TASKS} can be sent at once.")
    return _without_repeats(tasks)


def _without_repeats(tasks: list[Any]) -> list[Any]:
    """The tasks of a request without repeats of those that only read. Each would send all its pictures again."""
    seen = set[tuple[str, str]]()
    kept = []
    for task in tasks:
        ref = task_ref(task)
        if ref.task_type in _READING and ref.task_uuid is not None:
            key = ref.task_type, ref.task_uuid.lower()
            if key in seen:
                continue
            seen.add(key)
        kept.append(task)
    return kept


def task_ref(raw: Any) -> TaskRef:
    """The type and the UUID of a raw task. None for a part that is missing, unusable or long."""
    if not isinstance(raw, dict):
        return TaskRef()
    sent = [raw.get(name) for name in ("taskType", "taskUUID")]
    return TaskRef(
        *(value if isinstance(value, str) and len(value) <= MAX_NAME and is_text(value) else None for value in sent)
    )
