"""The modelUpload task: downloads a LoRA, checks it, installs it, and reports each stage.

An upload continues when its client has gone. It starts again after a restart of the server. getResponse finds it. Knows
no transport.
"""

import asyncio
import contextlib
import os
import re
import sqlite3
import time
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import structlog

from pipelines.catalog.schedules import file_schedule
from pipelines.errors import LoraError
from pipelines.lora.model_shapes import served_shapes
from pipelines.lora.upload_check import check_upload
from server.api.access.client import Client
from server.api.runware.check.normalize import plain
from server.api.runware.check.validation import validate
from server.api.runware.responses import Answer, acknowledgement, error_object, ignored_warnings
from server.api.runware.schema.tasks import ModelUpload, WireTask
from server.api.runware.upload_rows import KEPT_UPLOADS, Upload, UploadRows
from server.api.services import Services
from server.errors import (
    ApiError,
    InvalidParameter,
    MediaError,
    ServiceUnavailable,
    TaskRejected,
    UnsupportedParameter,
)
from server.media.files import put_in_place
from server.storage import unforeseen_error
from server.tasks.lora_library import DRAFT_ENDING, ENDING, InstalledLora, LoraNameTaken

log = structlog.get_logger()

_READY = "The LoRA can be used."
_OF_CHECKPOINTS = ("type", "defaultScheduler", "defaultSteps", "defaultCFG", "defaultStrength")


class ModelUploads:
    """Answers modelUpload."""

    def __init__(self, services: Services) -> None:
        self._loras = services.loras
        self._ids = services.ids
        self._scopes = services.scopes
        self._rows = UploadRows(services.database)
        self._fetcher = services.lora_fetcher
        self._space = services.media.space
        self._ignore_unknown = services.options.ignore_unknown
        self._pool = services.body_pool
        self._uploads: OrderedDict[tuple[str, str], Upload] = OrderedDict()
        self._running: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Load the uploads of earlier processes. Starts those again that had not ended."""
        for kept in await self._rows.all():
            self._remember(kept.owner, kept.upload)
            if kept.upload.ended:
                continue
            lora = self._lora(kept.task, kept.owner)
            if self._loras.has(lora):  # it was installed, and only its row was not updated
                kept.upload.add_stage("ready", _READY, air=lora.air)
                await self._rows.end(kept.owner, kept.upload)
                kept.upload.end()
            else:
                self._start(kept.task, lora, kept.upload)

    async def __call__(self, raw: WireTask, client: Client) -> AsyncIterator[Answer]:
        """Answer each stage as it is reached. A client that does not listen gets all stages at once, or the error."""
        task, ignored = await self._pool.run(client.size, self._validate, raw)
        self._space.check()
        await self._ids.check_free(client.owner, task.taskUUID)
        lora = self._lora(task, client.owner)
        try:
            self._loras.check_names((lora.air, *lora.slugs))
        except LoraNameTaken as error:
            raise _name_taken(error) from error
        await self._rows.begin(client.owner, task)
        upload = Upload(task)
        self._remember(client.owner, upload)
        self._start(task, lora, upload)
        warnings = ignored_warnings(ignored)
        if task.deliveryMethod == "async":
            yield acknowledgement(upload.ref)
            if not client.listens:
                return
        elif not client.listens:
            items = tuple([item async for item in upload.follow()])
            if upload.error is not None:
                raise upload.error
            yield Answer(data=items, warnings=warnings)
            return
        async for item in upload.follow():
            yield Answer(data=(item,), warnings=warnings)
        if upload.error is not None:
            documentation = f"{client.base_url}/docs"
            yield Answer(errors=(error_object(upload.error, upload.ref, documentation=documentation),))

    def find(self, owner: str, task_uuid: str) -> Answer | None:
        """The stages of an upload so far. None for an unknown UUID."""
        upload = self._uploads.get((owner, task_uuid.lower()))
        if upload is None:
            return None
        errors = (error_object(upload.error, upload.ref) | {"status": "error"},) if upload.error else ()
        return Answer(tuple(upload.items) or (upload.ref.keys | {"status": "processing"},), errors)

    async def close(self) -> None:
        """Cancel the running uploads."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _validate(self, raw: WireTask) -> tuple[ModelUpload, list[str]]:
        raw = plain(raw)
        without_effect = [
            UnsupportedParameter(f"'{name}' is for checkpoints. Only LoRAs can be installed.", parameter=name)
            for name in _OF_CHECKPOINTS
            if name in raw
        ]
        known = {name: value for name, value in raw.items() if name not in _OF_CHECKPOINTS}
        task, ignored = validate(ModelUpload, known, ignore_unknown=self._ignore_unknown)
        if task.category not in ("lora", "lycoris"):
            message = f"Category '{task.category}' is valid, but only LoRAs can be installed on this server."
            details = {"type": "string", "allowedValues": ["lora", "lycoris"]}
            without_effect.insert(0, UnsupportedParameter(message, parameter="category", details=details))
        if without_effect:
            raise TaskRejected(*without_effect)
        return task, ignored

    def _lora(self, task: ModelUpload, owner: str) -> InstalledLora:
        return InstalledLora(
            air=task.air or f"local:{_slug(task.name)}@{_slug(task.version)}",
            name=task.name,
            weights=str(self._loras.folder / f"{uuid.uuid4()}{ENDING}"),
            version=task.version,
            architecture=task.architecture,
            weight=float(task.defaultWeight),
            slugs=(task.uniqueIdentifier.lower(),) if task.uniqueIdentifier else (),
            owner=owner,
            private=task.private,
            tags=task.tags,
            hero_image=task.heroImageURL,
            positive_trigger_words=task.positiveTriggerWords,
            negative_trigger_words=task.negativeTriggerWords,
            short_description=task.shortDescription,
            comment=task.comment,
            created=time.time(),
        )

    def _remember(self, owner: str, upload: Upload) -> None:
        self._uploads[_key(owner, upload)] = upload
        while len(self._uploads) > KEPT_UPLOADS:
            self._uploads.popitem(last=False)

    def _start(self, task: ModelUpload, lora: InstalledLora, upload: Upload) -> None:
        running = asyncio.create_task(self._run(task, lora, upload))
        self._running.add(running)
        running.add_done_callback(self._running.discard)

    async def _run(self, task: ModelUpload, lora: InstalledLora, upload: Upload) -> None:
        try:
            await self._install(task, lora, upload)
        except ApiError as error:
            upload.fail(error)
        except LoraNameTaken as error:
            upload.fail(_name_taken(error))
        except asyncio.CancelledError:
            upload.error = ServiceUnavailable("The server is stopping. It starts the upload again at its next start.")
            upload.end()
            raise
        except Exception as error:
            log.exception("upload failed", task=task.taskUUID)
            message = "The LoRA could not be stored. The server's log has the details."
            upload.fail(unforeseen_error(error, message))
        try:
            await self._rows.end(lora.owner, upload)
        except sqlite3.Error:  # the next start begins it again
            log.exception("the end of an upload cannot be recorded", task=task.taskUUID)
        upload.end()  # last, because a client may repeat a failed task at once

    async def _install(self, task: ModelUpload, lora: InstalledLora, upload: Upload) -> None:
        upload.add_stage("validated", "The request is valid. The file is being downloaded.")
        path = Path(lora.weights)
        draft = path.with_suffix(DRAFT_ENDING)
        try:
            async with self._scopes.open(lora.owner, task.taskUUID):
                await self._fetch(task.downloadURL, draft)
            upload.add_stage("downloaded", "The file is a LoRA for Qwen-Image.")
            await asyncio.to_thread(_put_in_place, draft, path)
            schedule = await asyncio.to_thread(file_schedule, lora.weights, *_names(task))
            await self._loras.install(replace(lora, schedule=schedule))
        except BaseException:
            for file in (draft, path):
                with contextlib.suppress(OSError):
                    file.unlink(missing_ok=True)
            raise
        upload.add_stage("stored", "The LoRA is stored.")
        upload.add_stage("ready", _READY, air=lora.air)
        log.info("LoRA installed", air=lora.air, file=path.name)

    async def _fetch(self, url: str, draft: Path) -> None:
        """Download a file and check its names, shapes and numbers. Raises `InvalidParameter`."""
        await asyncio.to_thread(draft.parent.mkdir, parents=True, exist_ok=True)
        entries = self._loras.catalog("").entries
        try:
            await self._fetcher.download(url, draft)
            await asyncio.to_thread(lambda: check_upload(draft, served_shapes(entries)))
        except MediaError as error:
            raise error.for_parameter("downloadURL") from error
        except LoraError as error:
            message = f"Invalid value for 'downloadURL' parameter. The file cannot be used: {error}."
            raise InvalidParameter("downloadURL", message, details={"type": "string"}) from error


def _names(task: ModelUpload) -> tuple[str, ...]:
    """The texts by which a known LoRA is recognized."""
    return (task.downloadURL, task.name, task.uniqueIdentifier or "", task.air or "")


def _key(owner: str, upload: Upload) -> tuple[str, str]:
    return owner, upload.task_uuid.lower()


def _name_taken(error: LoraNameTaken) -> InvalidParameter:
    parameter = ("air", "uniqueIdentifier")[error.position]
    message = f"Invalid value for '{parameter}' parameter. {error}"
    return InvalidParameter(parameter, message, code="modelAlreadyExists", details={"type": "string"})


def _put_in_place(draft: Path, path: Path) -> None:
    """Move a file to its final name when all of it is on disk."""
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    put_in_place(draft, path)


def _slug(text: str) -> str:
    """A text in the characters of an AIR identifier."""
    return re.sub(r"[^\w.-]+", "-", text.strip().lower()).strip("-") or "lora"
