"""The tasks around images and models: imageUpload, mediaStorage, modelSearch, accountManagement, ping.

Knows no queue beyond counting what it has drawn.
"""

import time
from collections.abc import AsyncIterator

from pipelines.catalog import AddOn, Catalog, ModelEntry
from server.errors import InvalidParameter, MediaError, NotFound, Rejected, UnsupportedParameter
from server.jobs.store import JobStore
from server.media.inputs import InputImages
from server.media.store import Media, MediaStore
from server.runware.caller import Caller
from server.runware.leniency import plain
from server.runware.results import image_url
from server.runware.schema import (
    AccountManagement,
    ImageUpload,
    MediaStorage,
    ModelSearch,
    Ping,
    WireTask,
)
from server.runware.validation import validate
from server.runware.wire import Answer, Item

DAY = 86_400


class Library:
    """Uploaded pictures, served models and usage."""

    def __init__(
        self,
        catalog: Catalog,
        jobs: JobStore,
        media: MediaStore,
        inputs: InputImages,
        *,
        ignore_unknown: bool,
    ) -> None:
        self._catalog = catalog
        self._jobs = jobs
        self._media = media
        self._inputs = inputs
        self._ignore_unknown = ignore_unknown

    async def image_upload(self, raw: WireTask, caller: Caller) -> AsyncIterator[Answer]:
        """Keep a picture, and tell its UUID and URL."""
        task, _ = validate(ImageUpload, plain(raw), ignore_unknown=self._ignore_unknown)
        media = await self._upload("image", task.image, caller)
        yield Answer(
            data=(
                {
                    "taskType": task.taskType,
                    "taskUUID": task.taskUUID,
                    "imageUUID": media.uuid,
                    "imageURL": _url(media, caller),
                },
            )
        )

    async def media_storage(self, raw: WireTask, caller: Caller) -> AsyncIterator[Answer]:
        """Keep or delete a picture."""
        task, _ = validate(MediaStorage, plain(raw), ignore_unknown=self._ignore_unknown)
        item: Item = {"taskType": task.taskType, "taskUUID": task.taskUUID, "operation": task.operation}
        if task.operation == "upload":
            media = await self._upload("media", task.media, caller)
            yield Answer(data=(item | {"mediaUUID": media.uuid, "mediaURL": _url(media, caller)},))
            return
        if not await self._media.delete(task.media, owner=caller.owner):
            message = f"No media with UUID '{task.media}' is stored here."
            raise NotFound(message, code="mediaNotFound", parameter="media")
        yield Answer(data=(item | {"mediaUUID": task.media},))

    async def model_search(self, raw: WireTask, caller: Caller) -> AsyncIterator[Answer]:
        """The served models that fit the filters, and how many there are."""
        task, _ = validate(ModelSearch, plain(raw), ignore_unknown=self._ignore_unknown)
        if unsupported := [name for name in ("conditioning", "capabilities") if getattr(task, name)]:
            raise Rejected(
                *(
                    UnsupportedParameter(f"'{name}' is not known of the models served here.", parameter=name)
                    for name in unsupported
                )
            )
        rows = [(entry, _row(entry)) for entry in self._catalog.entries]
        rows += [(net, _controlnet_row(net)) for net in self._catalog.controlnets]
        found = [row for entry, row in rows if _fits(entry, row, task)]
        if task.sort in ("name", "-name"):  # by any other key they are all equal
            found.sort(key=lambda row: row["name"], reverse=task.sort == "-name")
        page = found[task.offset : task.offset + task.limit]
        yield Answer(
            data=(
                {
                    "taskType": task.taskType,
                    "taskUUID": task.taskUUID,
                    "results": page,
                    "totalResults": len(found),
                },
            )
        )

    async def account_management(self, raw: WireTask, caller: Caller) -> AsyncIterator[Answer]:
        """Usage of the caller's key, in images; the balance is a number because clients expect one."""
        task, _ = validate(AccountManagement, plain(raw), ignore_unknown=self._ignore_unknown)
        now = time.time()
        periods = {
            "total": 0.0,
            "today": now - now % DAY,
            "last7Days": now - 7 * DAY,
            "last30Days": now - 30 * DAY,
        }
        counts = {name: await self._jobs.usage(caller.owner, since) for name, since in periods.items()}
        yield Answer(
            data=(
                {
                    "taskType": task.taskType,
                    "taskUUID": task.taskUUID,
                    "operation": task.operation,
                    "organizationUUID": "00000000-0000-4000-8000-000000000000",
                    "organizationName": "Ownware",
                    "balance": 0.0,
                    "team": [],
                    "apiKeys": [],
                    "usage": {name: {"credits": 0.0, "requests": count} for name, count in counts.items()},
                },
            )
        )

    async def ping(self, raw: WireTask, caller: Caller) -> AsyncIterator[Answer]:
        """Answer at once."""
        task, _ = validate(Ping, plain(raw), ignore_unknown=self._ignore_unknown)
        item: Item = {"taskType": "ping", "pong": True}
        yield Answer(data=(item | ({"taskUUID": task.taskUUID} if task.taskUUID else {}),))

    async def _upload(self, parameter: str, text: str, caller: Caller) -> Media:
        try:
            return await self._inputs.upload(text, owner=caller.owner)
        except MediaError as error:
            message = f"Invalid value for '{parameter}' parameter. {error.message}"
            raise InvalidParameter(parameter, message, details={"type": "string"}) from error


def _url(media: Media, caller: Caller) -> str:
    return image_url(caller.base_url, media.uuid, media.path.suffix[1:])


def _fits(entry: ModelEntry | AddOn, row: Item, task: ModelSearch) -> bool:
    words = f"{entry.air} {entry.name} {entry.version} {' '.join(entry.slugs)}".lower()
    return (
        (task.search is None or task.search.lower() in words)
        and set(task.tags) <= set(row["tags"])
        and (task.category is None or task.category == row["category"])
        and (task.type is None or task.type == row.get("type"))
        and (task.architecture is None or task.architecture == entry.architecture)
        and (task.source is None or task.source == "official")
        and task.visibility in ("all", "public")
    )


def _row(entry: ModelEntry) -> Item:
    comment = f"Weights: {entry.weights}."
    if entry.embedded:
        comment = (
            "Demonstration: the embedded checkpoint has the same architecture and a five-thousandth of the weights. "
            "It was trained on flat shapes and short words on plain backgrounds, and draws nothing else."
        )
    return {
        "air": entry.air,
        "name": entry.name,
        "version": entry.version,
        "category": "checkpoint",
        "architecture": entry.architecture,
        "type": "base",
        "tags": ["embedded", "demonstration"] if entry.embedded else [],
        "private": False,
        "comment": comment,
        "defaultWidth": 1024,
        "defaultHeight": 1024,
        "defaultSteps": entry.steps,
        "defaultScheduler": "Default",
        "defaultCFG": entry.true_cfg_scale,
    }


def _controlnet_row(net: AddOn) -> Item:
    return {
        "air": net.air,
        "name": net.name,
        "version": net.version,
        "category": "controlnet",
        "architecture": net.architecture,
        "tags": [],
        "private": False,
        "comment": f"Weights: {net.weights}.",
        "defaultWeight": net.weight,
    }
