"""The controlNetPreprocess task: turns a picture into a control image for a ControlNet.

A control image takes moments on the CPU. It is made at once in a thread, one at a time, and never queued. It is
uploaded before it is answered. Knows no transport.
"""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from PIL import Image

from pipelines.controlnet.preprocessors import KINDS, NEED_A_NETWORK, imitates_network, preprocess, shrink
from pipelines.pictures.reader import PictureReader
from pipelines.request import Reference
from server.api.access.client import Client
from server.api.runware.check.normalize import normalize_preprocess
from server.api.runware.check.validation import validate
from server.api.runware.responses import Answer, TaskRef, acknowledgement, ignored_warnings
from server.api.runware.results import picture_answer
from server.api.runware.schema.fields import UUID_PATTERN
from server.api.runware.schema.tasks import ControlNetPreprocess, WireTask
from server.api.services import Services
from server.api.urls.image_urls import own_image
from server.delivery.targets import Upload, Webhook
from server.errors import ApiError, IncompatibleParameters, MediaError, TaskRejected, UnsupportedParameter
from server.media.decoding.decode import Picture
from server.media.encode import Encoding, encode
from server.media.store import Media
from server.tasks.pictures.picture_tasks import PictureTask
from server.tasks.receivers import check_receivers

_RECEIVERS = ("webhookURL", "uploadEndpoint")
_CANNY_ONLY = ("lowThresholdCanny", "highThresholdCanny")


class Preprocessing:
    """Answers controlNetPreprocess."""

    def __init__(self, services: Services) -> None:
        self._tasks = services.pictures
        self._media = services.media
        self._inputs = services.inputs
        self._options = services.options
        self._sender = services.sender
        self._uploads = services.picture_uploads
        self._pool = services.body_pool
        # One at a time, also when a task is cancelled meanwhile: a burst of large pictures must not fill the memory.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="preprocess")

    async def __call__(self, raw: WireTask, client: Client) -> AsyncIterator[Answer]:
        """Answer with the control image. An async task gets an acknowledgement first, and over HTTP only that."""
        task, warnings = await self._pool.run(client.size, self._validate, raw)
        asynchronous = task.deliveryMethod == "async"
        # What the answers and `getTaskDetails` need of the task. Its picture is kept by its UUID.
        kept = task.model_dump(exclude={"inputImage"}, exclude_unset=True)
        done = PictureTask(client.owner, task.taskUUID, kept, warnings=warnings, webhook=self._webhook(task, client))
        upload = None if task.uploadEndpoint is None else Upload(task.uploadEndpoint)
        async with self._tasks.accept(done):
            await check_receivers(self._sender, {name: getattr(task, name) for name in _RECEIVERS})
            text = own_image(task.inputImage, client.base_url) or task.inputImage.strip()
            picture = await self._resolve(text, client)
            expires = time.time() + (self._options.result_ttl if task.ttl is None else task.ttl)
            made, found = await self._make(task, picture, client.owner, expires)
            input_uuid = text if re.match(UUID_PATTERN, text) else picture.uuid
            done = replace(done, picture_uuid=made.uuid, input_uuid=input_uuid, warnings=(*warnings, *found))
            await self._tasks.finish(done, expires, upload)
        if asynchronous:
            yield acknowledgement(TaskRef(task.taskType, task.taskUUID))
            if not client.listens:
                return
        if upload is not None:
            done = await self._uploads.wait_for(done)
        yield await picture_answer(done, self._media, client.base_url, status=asynchronous)

    def close(self) -> None:
        """Drop what waits. What runs ends by itself."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _validate(self, raw: WireTask) -> tuple[ControlNetPreprocess, tuple[str, ...]]:
        normalized, contradictions = normalize_preprocess(raw)
        try:
            task, ignored = validate(ControlNetPreprocess, normalized, ignore_unknown=self._options.ignore_unknown)
        except TaskRejected as rejected:
            raise TaskRejected(*rejected.errors, *contradictions) from rejected
        if errors := [*contradictions, *_errors(task)]:
            raise TaskRejected(*errors)
        return task, (*ignored_warnings(ignored), *_warnings(task))

    def _webhook(self, task: ControlNetPreprocess, client: Client) -> Webhook | None:
        if task.webhookURL is None:
            return None
        return Webhook(task.webhookURL, client.base_url, self._options.webhook_delays)

    async def _resolve(self, text: str, client: Client) -> Media:
        try:
            return await self._inputs.resolve(text, owner=client.owner)
        except MediaError as error:
            raise error.for_parameter("inputImage") from error

    async def _make(
        self, task: ControlNetPreprocess, picture: Media, owner: str, expires: float
    ) -> tuple[Media, list[str]]:
        """The stored control image, and warnings about its source."""
        reader = PictureReader()
        loop = asyncio.get_running_loop()
        control_image, data = await loop.run_in_executor(self._thread, _preprocessed, task, picture, reader)
        encoding = _encoding(task)
        kept = Picture(encoding.mime, encoding.extension, *control_image.size)
        media = await self._media.add(data, kept, kind="result", owner=owner, expires=expires)
        return media, reader.warnings


def _preprocessed(task: ControlNetPreprocess, picture: Media, reader: PictureReader) -> tuple[Image.Image, bytes]:
    """The control image, and its encoded file."""
    source = reader.image(Reference(picture.path, picture.sha256, picture.width, picture.height), "input image")
    low, high = task.lowThresholdCanny, task.highThresholdCanny
    control_image = preprocess(shrink(source, task.width, task.height), task.preProcessorType, low=low, high=high)
    return control_image, encode(control_image, _encoding(task))


def _encoding(task: ControlNetPreprocess) -> Encoding:
    return Encoding(task.outputFormat, task.outputQuality)


def _errors(task: ControlNetPreprocess) -> list[ApiError]:
    errors: list[ApiError] = []
    if task.preProcessorType in NEED_A_NETWORK:
        message = f"preProcessorType '{task.preProcessorType}' needs a neural network, which this server does not have."
        details = {"type": "string", "allowedValues": sorted(KINDS)}
        errors.append(UnsupportedParameter(message, parameter="preProcessorType", details=details))
    if task.lowThresholdCanny >= task.highThresholdCanny:
        message = f"'lowThresholdCanny' must be less than 'highThresholdCanny', which is {task.highThresholdCanny}."
        errors.append(IncompatibleParameters(message, parameter=_CANNY_ONLY))
    return errors


def _warnings(task: ControlNetPreprocess) -> list[str]:
    warnings = []
    kind = task.preProcessorType
    if imitates_network(kind):
        warnings.append(f"preProcessorType '{kind}' is made with filters here, not with the network of that name.")
    if kind != "canny":
        given = [name for name in _CANNY_ONLY if name in task.model_fields_set]
        warnings += [f"{name} is ignored: it applies to canny only." for name in given]
    if task.includeHandsAndFaceOpenPose:
        warnings.append("includeHandsAndFaceOpenPose is ignored: it applies to openpose only.")
    return warnings
