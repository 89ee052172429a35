"""A task in values that mean the same in every dialect, and the `TaskSpec` that it becomes.

A dialect has read its own names and units. What it leaves open becomes the model's own here. Knows no wire format.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypedDict

from pipelines.catalog.catalog import Adapter, Catalog, ModelEntry
from pipelines.catalog.schedules import LoraSchedule, ScheduleConflict
from pipelines.limits import PROPOSED_SIDE
from pipelines.request import LoraUse
from pipelines.resolver import ResolvedSchedule, resolve_schedule
from server.delivery.targets import Webhook
from server.errors import ApiError, TaskRejected
from server.media.encode import Encoding
from server.tasks.plain.cache_choice import CacheChoice
from server.tasks.plain.parameter_names import parameter_name
from server.tasks.plain.rules import check_drift_guard, check_loras, check_prompts, check_references, lora_conflict
from server.tasks.spec import GuardSpec, TaskSpec


@dataclass(frozen=True, slots=True)
class PlainLora:
    """A LoRA by the name that the client sent. Without a weight it has the LoRA's own."""

    name: str
    weight: float | None = None


@dataclass(frozen=True, slots=True)
class PlainTask:
    """What a client asks for. None means the model's own value, and for a seed a random one.

    `images` are the pictures to edit, in the client's order, each as the text that names it. `picture_sides` bounds the
    pixels of their sides. A `mask` belongs to the first of them. `size` is in pixels; without it the picture at
    `size_picture` decides, by default the last. `names` has the client's names for the neutral paths of errors, as
    `server.tasks.plain.parameter_names` reads them. `align_to` is `auto` or the number of an image, from 0; it and
    `keep_unchanged` ask for the drift guard.
    """

    model: ModelEntry
    prompt: str
    encoding: Encoding
    negative_prompt: str | None = None
    images: tuple[str, ...] = ()
    mask: str | None = None
    size: tuple[int, int] | None = None
    size_picture: str | None = None
    seed: int | None = None
    count: int = 1
    steps: int | None = None
    true_cfg_scale: float | None = None
    loras: tuple[PlainLora, ...] = ()
    cache: CacheChoice | None = None
    align_to: Literal["auto"] | int | None = None
    keep_unchanged: bool = False
    watermark: str | None = None
    picture_sides: tuple[int, int] | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    def name(self, path: str) -> str:
        """The client's name of a part of its task."""
        return parameter_name(path, self.names)


class TaskIdentity(TypedDict):
    """The keywords that name a task, to make or to record it. `task` is what the client sent."""

    owner: str
    dialect: str
    task_id: str
    task: Mapping[str, Any]
    webhook: Webhook | None


def to_spec(
    plain: PlainTask,
    catalog: Catalog,
    *,
    owner: str,
    dialect: str,
    task_id: str,
    task: Mapping[str, Any],
    wait: bool,
    ttl: int | None = None,
    webhook: Webhook | None = None,
    warnings: tuple[str, ...] = (),
) -> TaskSpec:
    """The spec of a task. `task` is what the client sent, `warnings` are the dialect's own.

    Raises `TaskRejected` with all errors that are found.
    """
    if errors := list(_errors(plain, catalog)):
        raise TaskRejected(*errors)
    loras = [_row(lora, catalog) for lora in plain.loras]
    schedule = _schedule(plain, loras)
    guided = schedule.true_cfg_scale > 1
    cache, notes = None, ()
    if plain.cache is not None:
        cache, notes = plain.cache.plan(schedule.steps, plain.name("cache"), plain.name("cache.window"))
    warnings += notes
    if plain.negative_prompt and not guided:
        warnings += (f"{plain.name('negative_prompt')} is ignored: guidance is off at a scale of 1 or less.",)
    width, height = _size(plain)
    return TaskSpec(
        owner=owner,
        dialect=dialect,
        task_id=task_id,
        task=task,
        wait=wait,
        model=plain.model,
        prompt=plain.prompt,
        negative_prompt=(plain.negative_prompt or None) if guided else None,
        steps=schedule.steps,
        sampler=schedule.sampler,
        true_cfg_scale=schedule.true_cfg_scale,
        encoding=plain.encoding,
        ttl=ttl,
        width=width,
        height=height,
        size_picture=plain.size_picture,
        seed=plain.seed,
        count=plain.count,
        references=plain.images,
        seed_image=plain.images[0] if plain.mask is not None else None,
        mask=plain.mask,
        loras=tuple(
            LoraUse(lora.name, Path(row.weights), row.weight if lora.weight is None else lora.weight)
            for lora, row in zip(plain.loras, loras, strict=True)
        ),
        cache=cache,
        guard=_guard(plain),
        watermark=plain.watermark,
        picture_sides=plain.picture_sides,
        webhook=webhook,
        warnings=warnings,
        parameters={name: plain.name(name) for name in ("webhook", "cache", "mask")}
        | {"seed_image": plain.name("references[0]")}
        | {f"references[{number}]": plain.name(f"references[{number}]") for number in range(len(plain.images))},
    )


def _errors(plain: PlainTask, catalog: Catalog) -> Iterator[ApiError]:
    found = [row for lora in plain.loras if (row := catalog.find_lora(lora.name)) is not None]
    yield from check_references(len(plain.images), plain.model, found, catalog, plain.name("references"))
    names = (plain.name("prompt"), plain.name("negative_prompt"))
    yield from check_prompts(dict(zip(names, (plain.prompt, plain.negative_prompt), strict=True)))
    guard = {"align_to": plain.align_to is not None, "keep_unchanged": plain.keep_unchanged}
    asked = [name for name, on in guard.items() if on]
    yield from check_drift_guard(plain.align_to, len(plain.images), asked, plain.name("references"))
    named = {plain.name(f"loras[{number}]"): lora.name for number, lora in enumerate(plain.loras)}
    yield from check_loras(named, plain.model, catalog)
    if len(found) == len(plain.loras):
        try:
            _schedule(plain, found)
        except ScheduleConflict as conflict:
            yield lora_conflict(conflict, plain.name("loras[]"))


def _guard(plain: PlainTask) -> GuardSpec | None:
    """The drift guard of a task, None when it asks for nothing. By default its source is the first picture."""
    if plain.align_to is None and not plain.keep_unchanged:
        return None
    first = 0 if plain.mask is None else None  # with a mask the first picture is the seed image
    reference = plain.align_to if isinstance(plain.align_to, int) else first
    return GuardSpec(reference, plain.align_to is not None, plain.keep_unchanged)


def _row(lora: PlainLora, catalog: Catalog) -> Adapter:
    if (row := catalog.find_lora(lora.name)) is None:
        raise LookupError(f"LoRA {lora.name} was there when the task was checked")
    return row


def _schedule(plain: PlainTask, rows: list[Adapter]) -> ResolvedSchedule:
    """The schedule of a task. A LoRA of weight 0 does not count, because the picture is the same without it."""
    schedules: dict[int, LoraSchedule] = {}
    for number, (lora, row) in enumerate(zip(plain.loras, rows, strict=True)):
        weight = row.weight if lora.weight is None else lora.weight
        if row.schedule is not None and weight != 0:
            schedules[number] = row.schedule
    return resolve_schedule(
        plain.model, schedules, steps=plain.steps, true_cfg_scale=plain.true_cfg_scale, sampler=None
    )


def _size(plain: PlainTask) -> tuple[int, int] | tuple[None, None]:
    """The size of the picture. None lets the pictures decide."""
    if plain.size is not None:
        return plain.size
    return (None, None) if plain.images else (PROPOSED_SIDE, PROPOSED_SIDE)
