"""The schedule of a task: its own values, else those of its LoRAs, else the model's.

Pure. A LoRA of weight 0 does not count, because the picture is the same without it.
"""

from pipelines.catalog.catalog import Adapter, Catalog, ModelEntry
from pipelines.catalog.schedules import LoraSchedule, ScheduleConflict
from pipelines.resolver import ResolvedSchedule, resolve_schedule
from server.api.runware.schema.objects import Lora
from server.api.runware.schema.schedulers import SAMPLERS
from server.api.runware.schema.tasks import ImageInference


def task_schedule(task: ImageInference, entry: ModelEntry, catalog: Catalog) -> ResolvedSchedule:
    """Resolve the schedule of a task. Raises `ScheduleConflict`, with the numbers of two LoRAs."""
    return resolve_schedule(
        entry,
        lora_schedules(task, catalog),
        steps=task.steps,
        true_cfg_scale=_given_scale(task),
        sampler=SAMPLERS[task.scheduler] if task.scheduler else None,
    )


def resolve_steps(task: ImageInference, entry: ModelEntry, catalog: Catalog) -> int:
    """The steps of a task. A task whose LoRAs conflict has its own, else the model's."""
    try:
        return task_schedule(task, entry, catalog).steps
    except ScheduleConflict:
        return task.steps or entry.steps


def lora_schedules(task: ImageInference, catalog: Catalog) -> dict[int, LoraSchedule]:
    """The schedules of the acting LoRAs of a task, by their numbers in it."""
    found = {}
    for number, asked in enumerate(task.lora):
        row = catalog.find_lora(asked.model)
        if row is not None and row.schedule is not None and lora_weight(asked, row) != 0:
            found[number] = row.schedule
    return found


def lora_weight(asked: Lora, row: Adapter) -> float:
    """The weight of a LoRA: the task's, else the row's."""
    return float(asked.weight if "weight" in asked.model_fields_set else row.weight)


def _given_scale(task: ImageInference) -> float | None:
    """Qwen-Image has one guidance: `settings.trueCFGScale` if given, else `CFGScale`."""
    scale = task.CFGScale if task.settings.trueCFGScale is None else task.settings.trueCFGScale
    return None if scale is None else float(scale)
