"""Renders through a server, over its Runware API. Pictures are sent inline, so the server needs none of our files.

Waits for a server that restarts or is full: an accepted task is kept there.
"""

import base64
import io
import mimetypes
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
from PIL import Image

from ownware.batch.item import BatchError, Interrupted, ItemError, WireTask
from ownware.batch.renderers.base import OnStep, Rendered
from ownware.batch.renderers.defaults import complete_task
from ownware.batch.tasks.pictures import map_pictures
from pipelines.catalog.models_file import load_catalog
from pipelines.limits import PROPOSED_SIDE
from pipelines.receipt import ReceiptError, read_receipt
from server.api.runware.check.normalize import normalize
from server.api.runware.check.validation import validate
from server.api.runware.schema.tasks import ImageInference
from server.errors import TaskRejected
from server.media.metadata import embedded_text

POLL_SECONDS = 0.25
# How long a server may be away, or refuse because it is full, before the command ends.
PATIENCE_SECONDS = 300.0
_RETRY_SECONDS = 2.0
_REQUEST_SECONDS = 120.0
_WAIT_CODES = frozenset({"rateLimitExceeded", "serviceUnavailable", "modelNotReady", "requestTimeout"})
_FATAL_CODES = frozenset({"missingApiKey", "invalidApiKey", "hostNotAllowed", "insufficientStorage", "routeNotFound"})


class RemoteRenderer:
    """A server at an address such as `http://127.0.0.1:8000`, with or without `/v1`."""

    def __init__(self, url: str, key: str | None, patience: float = PATIENCE_SECONDS) -> None:
        if not url.startswith(("http://", "https://")):
            raise BatchError(f"--server: '{url}' is no address such as http://127.0.0.1:8000")
        self._url = url.rstrip("/").removesuffix("/v1") + "/v1"
        self._patience = patience
        self._catalog = load_catalog()
        self._http = httpx2.Client(headers={"Authorization": f"Bearer {key or 'any'}"}, timeout=_REQUEST_SECONDS)

    def connect(self) -> None:
        """Ask once whether the server is there and accepts the key. Raises `BatchError`."""
        try:
            answer = self._http.post(self._url, json=[{"taskType": "ping"}]).json()
            errors = answer.get("errors")
        except (httpx2.TransportError, ValueError, AttributeError) as error:
            raise BatchError(f"--server: nothing answers at {self._url} as a server does: {error}") from error
        if errors:
            raise BatchError(f"--server: {errors[0].get('message')}")

    def complete(self, task: WireTask) -> WireTask:
        """See `Renderer`."""
        return complete_task(task, self._catalog, PROPOSED_SIDE)

    def check(self, task: WireTask) -> None:
        """See `Renderer`. The server checks the rest: it knows its models, and may know more fields."""
        map_pictures(task, _check_file)
        own = {"taskType": "imageInference", "taskUUID": str(uuid.uuid4())}
        try:
            validate(ImageInference, normalize({**task, **own}, self._catalog)[0], ignore_unknown=True)
        except TaskRejected as error:
            raise ItemError(" ".join(each.message for each in error.errors)) from error

    def seconds(self, task: WireTask) -> float | None:
        """See `Renderer`. A server estimates the tasks that it has."""
        return None

    def render(self, task: WireTask, on_step: OnStep) -> Iterator[Rendered]:
        """See `Renderer`."""
        task_uuid = str(uuid.uuid4())
        own = {"taskType": "imageInference", "taskUUID": task_uuid, "deliveryMethod": "async"}
        own |= {"outputType": "base64Data", "outputFormat": "PNG"}
        try:
            self._send({**map_pictures(task, _encoded), **own}, on_step)
            items = self._wait(task_uuid, on_step)
        except (Interrupted, KeyboardInterrupt):
            self._cancel(task_uuid)
            raise
        details = self._send({"taskType": "getTaskDetails", "taskUUID": task_uuid}, on_step)
        notes = tuple(str(note) for item in details for note in item.get("warnings", ()))
        for item in sorted(items, key=lambda item: item["seed"]):
            unsafe = ("not safe for work",) if item.get("NSFWContent") else ()
            yield _rendered(base64.b64decode(item["imageBase64Data"]), int(item["seed"]), (*notes, *unsafe))

    def close(self) -> None:
        """See `Renderer`."""
        self._http.close()

    def _wait(self, task_uuid: str, on_step: OnStep) -> list[dict[str, Any]]:
        """The results of a task, when all are there."""
        while True:
            items = self._send({"taskType": "getResponse", "taskUUID": task_uuid}, on_step)
            waiting = [item for item in items if item.get("status") == "processing"]
            if not waiting:
                return items
            on_step(int(waiting[0].get("progress", 0)), 100)
            time.sleep(POLL_SECONDS)

    def _send(self, task: dict[str, Any], on_step: OnStep) -> list[dict[str, Any]]:
        """The items of an answer. Tries again while the server is away or full.

        Raises `ItemError` for a task that is refused or has failed, and `BatchError` where no other would do better.
        """
        end = time.monotonic() + self._patience
        sent_before = False
        while True:
            try:
                answer = self._http.post(self._url, json=[task])
                body = answer.json()
                errors = body.get("errors") or []
            except (httpx2.TransportError, ValueError, AttributeError) as error:
                problem = f"{self._url} does not answer as a server does: {error or type(error).__name__}"
                delay, errors, body = _RETRY_SECONDS, [], None
            else:
                if not errors:
                    return list(body.get("data", ()))
                code, problem = str(errors[0].get("code")), " ".join(str(each.get("message")) for each in errors)
                if code == "conflictTaskUUID" and sent_before:  # accepted, and the answer was lost
                    return []
                if code in _FATAL_CODES:
                    raise BatchError(problem)
                if code not in _WAIT_CODES:
                    raise ItemError(problem)
                delay = float(answer.headers.get("Retry-After", _RETRY_SECONDS))
            sent_before = True
            if time.monotonic() + delay > end:
                raise BatchError(problem)
            self._pause(delay, on_step)

    def _pause(self, seconds: float, on_step: OnStep) -> None:
        """Wait, and look for the user's wish to stop meanwhile."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            on_step(0, 100)
            time.sleep(min(POLL_SECONDS, left))

    def _cancel(self, task_uuid: str) -> None:
        """Ask the server not to go on. It may be away."""
        try:
            self._http.post(self._url, json=[{"taskType": "cancelTask", "taskUUID": task_uuid}])
        except httpx2.TransportError:
            return


def _rendered(data: bytes, seed: int, notes: tuple[str, ...]) -> Rendered:
    text = embedded_text(io.BytesIO(data))
    with Image.open(io.BytesIO(data)) as image:
        picture = image.convert("RGB")
    try:
        receipt = None if text is None else read_receipt(text)
    except ReceiptError:  # another version's
        receipt = None
    return Rendered(picture, seed, receipt, notes)


def _check_file(text: str) -> str:
    """The text itself. Raises `ItemError` when it is the path of no file."""
    if Path(text).is_absolute() and not Path(text).is_file():
        raise ItemError(f"{text}: there is no such file")
    return text


def _encoded(text: str) -> str:
    """A picture as a data URI. Raises `ItemError` when the file cannot be read."""
    path = Path(text)
    if not path.is_absolute():  # a URL, a data URI or a UUID
        return text
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ItemError(f"{path}: {error.strerror}") from error
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
