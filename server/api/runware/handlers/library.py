"""The tasks around images and models: imageUpload, mediaStorage, modelSearch, accountManagement, ping.

Knows no queue beyond counting what it has drawn.
"""

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from pipelines.catalog.catalog import Adapter, Catalog, ModelEntry
from server.api.client import Client
from server.api.image_urls import image_url
from server.api.runware.check.normalize import plain
from server.api.runware.check.validation import validate
from server.api.runware.responses import Answer, Item
from server.api.runware.schema.tasks import AccountManagement, ImageUpload, MediaStorage, ModelSearch, Ping, WireTask
from server.errors import MediaError, NotFound, TaskRejected, UnsupportedParameter
from server.jobs.store import JobStore
from server.media.inputs import InputImages
from server.media.store import Media, MediaStore
from server.tasks.lora_library import InstalledLora, LoraLibrary

DAY = 86_400


class Library:
    """Uploaded pictures, served models and usage."""

    def __init__(
        self,
        lora_library: LoraLibrary,
        jobs: JobStore,
        media: MediaStore,
        inputs: InputImages,
        *,
        ignore_unknown: bool,
    ) -> None:
        self._lora_library = lora_library
        self._jobs = jobs
        self._media = media
        self._inputs = inputs
        self._ignore_unknown = ignore_unknown

    async def image_upload(self, raw: WireTask, client: Client) -> AsyncIterator[Answer]:
        """Keep a picture, and tell its UUID and URL."""
        task, _ = validate(ImageUpload, plain(raw), ignore_unknown=self._ignore_unknown)
        media = await self._upload("image", task.image, client)
        yield Answer(
            data=(
                {
                    "taskType": task.taskType,
                    "taskUUID": task.taskUUID,
                    "imageUUID": media.uuid,
                    "imageURL": _url(media, client),
                },
            )
        )

    async def media_storage(self, raw: WireTask, client: Client) -> AsyncIterator[Answer]:
        """Keep or delete a picture."""
        task, _ = validate(MediaStorage, plain(raw), ignore_unknown=self._ignore_unknown)
        item: Item = {"taskType": task.taskType, "taskUUID": task.taskUUID, "operation": task.operation}
        if task.operation == "upload":
            media = await self._upload("media", task.media, client)
            yield Answer(data=(item | {"mediaUUID": media.uuid, "mediaURL": _url(media, client)},))
            return
        if not await self._media.delete(task.media, owner=client.owner):
            raise NotFound("No media with this UUID is stored here.", code="mediaNotFound", parameter="media")
        yield Answer(data=(item | {"mediaUUID": task.media},))

    async def model_search(self, raw: WireTask, client: Client) -> AsyncIterator[Answer]:
        """The served models and LoRAs that fit the filters, and how many there are."""
        task, _ = validate(ModelSearch, plain(raw), ignore_unknown=self._ignore_unknown)
        if unsupported := [name for name in ("conditioning", "capabilities") if getattr(task, name)]:
            raise TaskRejected(
                *(
                    UnsupportedParameter(f"'{name}' is not known of the models served here.", parameter=name)
                    for name in unsupported
                )
            )
        found = [f.row for f in _all(self._lora_library.catalog(client.owner), client.owner) if _fits(f, task)]
        key = task.sort.removeprefix("-")
        if key == "name":
            found.sort(key=lambda row: row["name"], reverse=key != task.sort)
        elif key.endswith("UnixTimestamp"):  # only uploads have one; by any other key they are all equal
            found.sort(key=lambda row: row.get("addedUnixTimestamp", 0), reverse=key != task.sort)
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

    async def account_management(self, raw: WireTask, client: Client) -> AsyncIterator[Answer]:
        """Usage of the client's key, in images; the balance is a number because clients expect one."""
        task, _ = validate(AccountManagement, plain(raw), ignore_unknown=self._ignore_unknown)
        now = time.time()
        periods = {
            "total": 0.0,
            "today": now - now % DAY,
            "last7Days": now - 7 * DAY,
            "last30Days": now - 30 * DAY,
        }
        counts = {name: await self._jobs.usage(client.owner, since) for name, since in periods.items()}
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

    async def ping(self, raw: WireTask, client: Client) -> AsyncIterator[Answer]:
        """Answer at once."""
        task, _ = validate(Ping, plain(raw), ignore_unknown=self._ignore_unknown)
        item: Item = {"taskType": "ping", "pong": True}
        yield Answer(data=(item | ({"taskUUID": task.taskUUID} if task.taskUUID else {}),))

    async def _upload(self, parameter: str, text: str, client: Client) -> Media:
        try:
            return await self._inputs.upload(text, owner=client.owner)
        except MediaError as error:
            raise error.for_parameter(parameter) from error


def _url(media: Media, client: Client) -> str:
    return image_url(client.base_url, media.uuid, media.path.suffix[1:])


@dataclass(frozen=True, slots=True)
class _Found:
    """A row of modelSearch and what the filters ask of it beyond that."""

    row: Item
    words: str
    official: bool
    owned: bool = False


def _all(catalog: Catalog, owner: str) -> Iterator[_Found]:
    for entry in catalog.entries:
        yield _Found(_row(entry), _words(entry), official=True)
    for lora in catalog.loras:
        owned = isinstance(lora, InstalledLora) and lora.owner == owner
        yield _Found(_lora_row(lora), _words(lora), official=False, owned=owned)

    for net in catalog.controlnets:
        yield _Found(_controlnet_row(net), _words(net), official=False)


def _words(row: ModelEntry | Adapter) -> str:
    return f"{row.air} {row.name} {row.version} {' '.join(row.slugs)}".lower()


def _fits(found: _Found, task: ModelSearch) -> bool:
    row = found.row
    visible = {"all": True, "public": not row["private"], "private": row["private"], "owned": found.owned}
    return (
        (task.search is None or task.search.lower() in found.words)
        and set(task.tags) <= set(row["tags"])
        and (task.category is None or task.category == row["category"])
        and (task.type is None or task.type == row.get("type"))
        and (task.architecture is None or task.architecture == row["architecture"])
        and (task.source is None or (task.source == "official") == found.official)
        and visible.get(task.visibility, False)
    )


def _lora_row(lora: Adapter) -> Item:
    row: Item = {
        "air": lora.air,
        "name": lora.name,
        "version": lora.version,
        "category": "lora",
        "architecture": lora.architecture,
        "tags": [],
        "private": False,
        "defaultWeight": lora.weight,
    }
    if isinstance(lora, InstalledLora):
        told = {
            "heroImage": lora.hero_image,
            "positiveTriggerWords": lora.positive_trigger_words,
            "negativeTriggerWords": lora.negative_trigger_words,
            "shortDescription": lora.short_description,
            "comment": lora.comment,
        }
        row |= {name: text for name, text in told.items() if text is not None}
        row |= {"tags": list(lora.tags), "private": lora.private, "addedUnixTimestamp": int(lora.created)}
    return row


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


def _controlnet_row(net: Adapter) -> Item:
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
