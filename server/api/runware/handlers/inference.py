"""The imageInference task: validate, accept, and answer with images as they are finished.

Everything is checked before the task is accepted; what can be refused is refused at once. Knows no transport.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

from pipelines.catalog.catalog import Catalog, ModelEntry
from pipelines.catalog.profiles import Profiles
from server.api.client import Client
from server.api.image_urls import own_image
from server.api.runware.check import rules
from server.api.runware.check.normalize import normalize
from server.api.runware.check.unsupported import let_pass
from server.api.runware.check.validation import validate
from server.api.runware.responses import Answer, acknowledgement
from server.api.runware.results import failure_object, image_item, job_answer, job_ref
from server.api.runware.schema.tasks import ImageInference, WireTask
from server.api.runware.translate.caches import ThresholdDirection
from server.api.runware.translate.request import image_texts, to_request
from server.errors import InvalidParameter, MediaError, ServiceUnavailable, TaskRejected
from server.jobs.events import Ended, Event, Stopping
from server.jobs.job import Submission
from server.jobs.queue import JobQueue
from server.media.encode import Encoding
from server.media.inputs import InputImages
from server.media.store import Media, MediaStore
from server.tasks.lora_library import LoraLibrary
from server.tasks.task_ids import TaskIds

# Inline pictures are kept as files; the stored task names them, so that it stays small.
LONGEST_KEPT_TEXT = 300


class Inference:
    """Accepts imageInference tasks."""

    def __init__(
        self,
        lora_library: LoraLibrary,
        ids: TaskIds,
        queue: JobQueue,
        media: MediaStore,
        inputs: InputImages,
        *,
        result_ttl: int,
        ignore_unknown: bool,
        let_unsupported_pass: bool = False,
        face_refinement: bool = False,
        threshold_direction: ThresholdDirection = "documented",
        profiles: Profiles | None = None,
    ) -> None:
        self._lora_library = lora_library
        self._ids = ids
        self._queue = queue
        self._media = media
        self._inputs = inputs
        self._result_ttl = result_ttl
        self._ignore_unknown = ignore_unknown
        self._let_unsupported_pass = let_unsupported_pass
        self._face_refinement = face_refinement
        self._threshold_direction: ThresholdDirection = threshold_direction
        self._profiles = profiles

    async def __call__(self, raw: WireTask, client: Client) -> AsyncIterator[Answer]:
        """Answer with an acknowledgement, or with each image and at most one error.

        Raises `TaskRejected` or another `ApiError` before anything is accepted.
        """
        catalog = self._lora_library.catalog(client.owner)
        task, entry, ignored = self._validate(raw, catalog)
        await self._ids.check_free(client.owner, task.taskUUID)
        pictures = await self._resolve(task, client)
        submission = self._submission(task, entry, pictures, ignored, client, catalog)
        with self._queue.watch(submission.key) as events:
            job = await self._queue.submit(submission)
            if task.deliveryMethod == "async":
                yield acknowledgement(job_ref(job))
                if not client.listens:
                    return
                async for answer in self._pushed(events, client):
                    yield answer
                return
            with self._queue.giving_up(submission.key, client.gone):
                async for answer in self._images(events, client):
                    yield answer

    def _validate(self, raw: WireTask, catalog: Catalog) -> tuple[ImageInference, ModelEntry, list[str]]:
        normalized, contradictions = normalize(raw, catalog)
        passed: list[str] = []
        if self._let_unsupported_pass:
            normalized, contradictions, passed = let_pass(normalized, raw, contradictions)
        try:
            task, ignored = validate(ImageInference, normalized, ignore_unknown=self._ignore_unknown)
        except TaskRejected as rejected:
            raise TaskRejected(*rejected.errors, *contradictions) from rejected
        if contradictions:
            raise TaskRejected(*contradictions)
        entry = catalog.find(task.model)
        if entry is None:
            served = [entry.air for entry in catalog.entries]
            message = f"Invalid value for 'model' parameter. '{task.model}' is not among the served models: "
            message += f"{', '.join(served)}."
            raise InvalidParameter("model", message, details={"type": "string", "allowedValues": served})
        rules.check(task, entry, catalog)
        rules.check_faces(task, refined=self._face_refinement)
        return task, entry, [*(f"{name} is ignored: the API has no such parameter." for name in ignored), *passed]

    async def _resolve(self, task: ImageInference, client: Client) -> dict[str, Media]:
        """Every picture that the task names, by the path of its parameter."""
        texts = {path: own_image(text, client.base_url) or text for path, text in image_texts(task).items()}
        found = await asyncio.gather(
            *(self._inputs.resolve(text, owner=client.owner) for text in texts.values()), return_exceptions=True
        )
        errors, pictures = [], {}
        for name, result in zip(texts, found, strict=True):
            if isinstance(result, MediaError):
                errors.append(result.for_parameter(name))
            elif isinstance(result, BaseException):
                raise result
            else:
                pictures[name] = result
        if errors:
            raise TaskRejected(*errors)
        rules.check_pictures(task, pictures)
        return pictures

    def _submission(
        self,
        task: ImageInference,
        entry: ModelEntry,
        pictures: dict[str, Media],
        ignored: list[str],
        client: Client,
        catalog: Catalog,
    ) -> Submission:
        request, warnings = to_request(task, entry, pictures, catalog, self._threshold_direction, self._profiles)
        warnings += tuple(ignored)
        return Submission(
            owner=client.owner,
            task_uuid=task.taskUUID,
            task=_kept(task, pictures),
            request=request,
            encoding=Encoding(task.outputFormat, task.outputQuality),
            image_uuids=tuple(str(uuid.uuid4()) for _ in range(request.count)),
            ttl=task.ttl if task.ttl is not None and task.outputType == "URL" else self._result_ttl,
            warnings=warnings,
        )

    async def _images(self, events: asyncio.Queue[Event], client: Client) -> AsyncIterator[Answer]:
        while True:
            event = await events.get()
            if isinstance(event, Stopping):
                if client.listens:  # the closing socket says it, and the client comes back for the result
                    return
                raise ServiceUnavailable("The server is stopping. The task goes on at its next start.")
            warnings = event.job.submission.warnings
            if isinstance(event, Ended):
                if event.job.failure is not None:
                    status = event.job.failure.status
                    yield Answer(errors=(failure_object(event.job),), status=status, warnings=warnings)
                return
            item = await image_item(event.job, event.result, self._media, client.base_url, status=False)
            yield Answer(data=(item,), warnings=warnings)

    async def _pushed(self, events: asyncio.Queue[Event], client: Client) -> AsyncIterator[Answer]:
        """The items of an async task, once it has ended."""
        while not isinstance(event := await events.get(), Stopping):
            if isinstance(event, Ended):
                yield await job_answer(event.job, self._media, client.base_url)
                return


def _kept(task: ImageInference, pictures: dict[str, Media]) -> dict[str, Any]:
    """The task as it is stored and shown again: what the client set, pictures by UUID."""
    inline = {text: pictures[path].uuid for path, text in image_texts(task).items() if len(text) > LONGEST_KEPT_TEXT}
    return _replaced(task.model_dump(mode="json", exclude_unset=True), inline)


def _replaced(value: Any, texts: dict[str, str]) -> Any:
    """A JSON value in which some strings have become others."""
    if isinstance(value, dict):
        return {key: _replaced(item, texts) for key, item in value.items()}
    if isinstance(value, list):
        return [_replaced(item, texts) for item in value]
    return texts.get(value, value) if isinstance(value, str) else value
