"""The modelUpload task: fetch a LoRA from a URL, look at it, keep it, and say how far it is.

An upload goes on when its client has gone; getResponse finds it again, as long as the server runs. Knows no transport.
"""

import asyncio
import contextlib
import os
import re
import time
import uuid
from collections import OrderedDict
from collections.abc import AsyncIterator
from pathlib import Path

import structlog

from pipelines.lora_keys import LoraError, check_file
from server.errors import (
    ApiError,
    ConflictTaskUUID,
    InternalServerError,
    InvalidParameter,
    MediaError,
    Rejected,
    ServiceUnavailable,
    UnsupportedParameter,
)
from server.media.fetch import Fetcher
from server.media.files import put_in_place
from server.runware.add_ons import DRAFT_ENDING, ENDING, AddOns, InstalledLora
from server.runware.caller import Caller
from server.runware.leniency import plain
from server.runware.schema import ModelUpload, WireTask
from server.runware.validation import validate
from server.runware.wire import Answer, Item, Origin, acknowledgement, error_object

log = structlog.get_logger()

KEPT_UPLOADS = 1000
_OF_CHECKPOINTS = ("type", "defaultScheduler", "defaultSteps", "defaultCFG", "defaultStrength")


class Upload:
    """One upload under way or ended: the items so far, and the error that ended it."""

    def __init__(self, task: ModelUpload) -> None:
        self.origin = Origin(task.taskType, task.taskUUID)
        self.items: list[Item] = []
        self.error: ApiError | None = None
        self.ended = False
        self._news = asyncio.Event()

    def tell(self, status: str, message: str, **more: str) -> None:
        """Add an item."""
        self.items.append(self.origin.keys | {"status": status, "message": message} | more)
        self._announce()

    def end(self, error: ApiError | None) -> None:
        """Add nothing more."""
        self.error, self.ended = error, True
        self._announce()

    async def follow(self) -> AsyncIterator[Item]:
        """The items as they come, up to the end."""
        told = 0
        while True:
            news = self._news
            while told < len(self.items):
                yield self.items[told]
                told += 1
            if self.ended:
                return
            await news.wait()

    def _announce(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()


class ModelUploads:
    """Installs LoRAs."""

    def __init__(self, add_ons: AddOns, fetcher: Fetcher, *, ignore_unknown: bool) -> None:
        self._add_ons = add_ons
        self._fetcher = fetcher
        self._ignore_unknown = ignore_unknown
        self._uploads: OrderedDict[tuple[str, str], Upload] = OrderedDict()
        self._running: set[asyncio.Task[None]] = set()

    async def __call__(self, raw: WireTask, caller: Caller) -> AsyncIterator[Answer]:
        """Answer each stage as it is reached; to a caller who gets one answer only, all of them or the error."""
        task, lora, ignored = self._validate(raw, caller.owner)
        upload = self._start(task, lora)
        warnings = tuple(f"{name} is ignored: the API has no such parameter." for name in ignored)
        if task.deliveryMethod == "async":
            yield acknowledgement(upload.origin)
            if not caller.listens:
                return
        elif not caller.listens:
            items = tuple([item async for item in upload.follow()])
            if upload.error is not None:
                raise upload.error
            yield Answer(data=items, warnings=warnings)
            return
        async for item in upload.follow():
            yield Answer(data=(item,), warnings=warnings)
        if upload.error is not None:
            documentation = f"{caller.base_url}/docs"
            yield Answer(errors=(error_object(upload.error, upload.origin, documentation=documentation),))

    def find(self, owner: str, task_uuid: str) -> Answer | None:
        """What an upload has to say so far, or None when there is none of that UUID."""
        upload = self._uploads.get((owner, task_uuid.lower()))
        if upload is None:
            return None
        errors = (error_object(upload.error, upload.origin) | {"status": "error"},) if upload.error else ()
        return Answer(tuple(upload.items) or (upload.origin.keys | {"status": "processing"},), errors)

    async def close(self) -> None:
        """Give up what is under way."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _validate(self, raw: WireTask, owner: str) -> tuple[ModelUpload, InstalledLora, list[str]]:
        raw = plain(raw)
        without_effect = [
            UnsupportedParameter(f"'{name}' is for checkpoints; only LoRAs can be installed.", parameter=name)
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
            raise Rejected(*without_effect)
        before = self._uploads.get((owner, task.taskUUID.lower()))
        if before is not None and before.error is None:
            raise ConflictTaskUUID("Use getResponse to see how far it is.")
        lora = self._lora(task, owner)
        self._add_ons.check_names((lora.air, *lora.slugs))
        return task, lora, ignored

    def _lora(self, task: ModelUpload, owner: str) -> InstalledLora:
        return InstalledLora(
            air=task.air or f"local:{_slug(task.name)}@{_slug(task.version)}",
            name=task.name,
            weights=str(self._add_ons.folder / f"{uuid.uuid4()}{ENDING}"),
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

    def _start(self, task: ModelUpload, lora: InstalledLora) -> Upload:
        upload = Upload(task)
        self._uploads[lora.owner, task.taskUUID.lower()] = upload
        while len(self._uploads) > KEPT_UPLOADS:
            self._uploads.popitem(last=False)
        running = asyncio.create_task(self._run(task, lora, upload))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return upload

    async def _run(self, task: ModelUpload, lora: InstalledLora, upload: Upload) -> None:
        error: ApiError | None = None
        try:
            await self._install(task, lora, upload)
        except ApiError as problem:
            error = problem
        except asyncio.CancelledError:
            upload.end(ServiceUnavailable("The server is stopping. Send the task again."))
            raise
        except Exception:
            log.exception("upload failed", task=task.taskUUID)
            error = InternalServerError("The LoRA could not be kept. The server's log has the details.")
        if error is not None:
            upload.tell("failed", error.message)
        upload.end(error)

    async def _install(self, task: ModelUpload, lora: InstalledLora, upload: Upload) -> None:
        upload.tell("validated", "The request is valid; the file is being downloaded.")
        path = Path(lora.weights)
        draft = path.with_suffix(DRAFT_ENDING)
        try:
            await self._fetch(task.downloadURL, draft)
            upload.tell("downloaded", "The file is here and is a LoRA for Qwen-Image.")
            await asyncio.to_thread(_put_in_place, draft, path)
            await self._add_ons.install(lora)
        except BaseException:
            for file in (draft, path):
                with contextlib.suppress(OSError):
                    file.unlink(missing_ok=True)
            raise
        upload.tell("stored", "The LoRA is kept.")
        upload.tell("ready", "The LoRA can be used.", air=lora.air)
        log.info("LoRA installed", air=lora.air, file=path.name)

    async def _fetch(self, url: str, draft: Path) -> None:
        """Download a file and look at its names. Raises `InvalidParameter`."""
        await asyncio.to_thread(draft.parent.mkdir, parents=True, exist_ok=True)
        try:
            await self._fetcher.download(url, draft)
            await asyncio.to_thread(check_file, draft)
        except MediaError as error:
            raise error.of("downloadURL") from error
        except LoraError as error:
            message = f"Invalid value for 'downloadURL' parameter. The file cannot be used: {error}."
            raise InvalidParameter("downloadURL", message, details={"type": "string"}) from error


def _put_in_place(draft: Path, path: Path) -> None:
    """Let a file appear under its name only when all of it is on disk."""
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    put_in_place(draft, path)


def _slug(text: str) -> str:
    """A name as it can stand in an AIR identifier."""
    return re.sub(r"[^\w.-]+", "-", text.strip().lower()).strip("-") or "lora"
