"""The modelSearch task: lists the served models, LoRAs and ControlNets. Knows no queue."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from pipelines.catalog.catalog import Adapter, Catalog, ModelEntry
from pipelines.limits import PROPOSED_SIDE
from server.api.access.client import Client
from server.api.runware.handlers.validator import TaskValidator
from server.api.runware.responses import Answer, Item
from server.api.runware.schema.tasks import ModelSearch, WireTask
from server.api.services import Services
from server.errors import TaskRejected, UnsupportedParameter
from server.tasks.lora_library import InstalledLora


class ModelLibrary:
    """Answers modelSearch."""

    def __init__(self, services: Services) -> None:
        self._loras = services.loras
        self._validate = TaskValidator(services)

    async def __call__(self, raw: WireTask, client: Client) -> AsyncIterator[Answer]:
        """Answer with the models, LoRAs and ControlNets that match the filters, and their number."""
        task = await self._validate(ModelSearch, raw, client)
        if unsupported := [name for name in ("conditioning", "capabilities") if getattr(task, name)]:
            raise TaskRejected(
                *(
                    UnsupportedParameter(f"'{name}' is not recorded for the models served here.", parameter=name)
                    for name in unsupported
                )
            )
        found = [f.row for f in _all(self._loras.catalog(client.owner), client.owner) if _fits(f, task)]
        key = task.sort.removeprefix("-")
        if key == "name":
            found.sort(key=lambda row: row["name"], reverse=key != task.sort)
        elif key.endswith("UnixTimestamp"):  # only uploads have one; no other sort key changes the order
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


@dataclass(frozen=True, slots=True)
class _Found:
    """A row of modelSearch, with what the filters need besides."""

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
        texts = {
            "heroImage": lora.hero_image,
            "positiveTriggerWords": lora.positive_trigger_words,
            "negativeTriggerWords": lora.negative_trigger_words,
            "shortDescription": lora.short_description,
            "comment": lora.comment,
        }
        row |= {name: text for name, text in texts.items() if text is not None}
        row |= {"tags": list(lora.tags), "private": lora.private, "addedUnixTimestamp": int(lora.created)}
    return row


def _row(entry: ModelEntry) -> Item:
    comment = f"Weights: {entry.files}."
    if entry.embedded:
        comment = (
            "Demonstration: the embedded checkpoint has the same architecture and a five-thousandth of the weights. "
            "It was trained on flat shapes and short words on plain backgrounds. It generates nothing else."
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
        "defaultWidth": PROPOSED_SIDE,
        "defaultHeight": PROPOSED_SIDE,
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
