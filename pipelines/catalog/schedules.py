"""The schedules that distilled weights were made for, and how the files of known LoRAs are recognized.

Reads names and the metadata of safetensors files. Knows no task and no request; imports no torch.
"""

import re
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field
from safetensors import SafetensorError, safe_open

from pipelines.limits import MAX_STEPS, MAX_TRUE_CFG_SCALE

# Where trainers write the name of what they have made: kohya's scripts, the Model Metadata Standard.
_NAME_KEYS = ("ss_output_name", "modelspec.title", "name")
# lightx2v: Qwen-Image-Lightning-8steps-V1.1, Qwen-Image-2512-Lightning-4steps-V1.0, Qwen-Image-Edit-2511-Lightning-…
_LIGHTNING = re.compile(r"qwen[-_ ]?image.*lightning.*?(?<!\d)(?P<steps>\d{1,2})[-_ ]?steps?", re.IGNORECASE)
# DiffSynth-Studio/Qwen-Image-Distill-LoRA: made on the model's own sigmas.
_DISTILL = re.compile(r"qwen[-_ ]?image[-_ ]distill[-_ ]lora", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SigmaSchedule:
    """How the sigmas are shifted; what is None is as the checkpoint says.

    `shift` is the same for all sizes. `terminal` is the last sigma before 0 that the others are stretched to, and 0 for
    none.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    shift: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] | None = None
    terminal: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] | None = None


UNCHANGED = SigmaSchedule()


@dataclass(frozen=True, slots=True)
class LoraSchedule(SigmaSchedule):
    """What a LoRA was made for: defaults of the tasks that name it. What is None is as the model says."""

    steps: Annotated[int, Field(ge=1, le=MAX_STEPS)] | None = None
    true_cfg_scale: Annotated[float, Field(ge=0, le=MAX_TRUE_CFG_SCALE, allow_inf_nan=False)] | None = None


class ScheduleConflict(ValueError):
    """Two LoRAs of one task were made for different schedules.

    They differ in `key`. `first` and `second` are their numbers in the task.
    """

    def __init__(self, key: str, first: int, second: int, values: tuple[float, float]) -> None:
        super().__init__(f"they were made for different schedules: {key} is {values[0]:g} and {values[1]:g}")
        self.key = key
        self.first = first
        self.second = second


def combine_schedules(schedules: Mapping[int, LoraSchedule], given: Container[str]) -> LoraSchedule:
    """Combine what the LoRAs of a task were made for, by their numbers. `given` are the keys that the task sets itself.

    Raises `ScheduleConflict`.
    """
    found: dict[str, tuple[int, float]] = {}
    for number, schedule in schedules.items():
        for key in (field.name for field in fields(schedule)):
            value = getattr(schedule, key)
            if value is None or key in given:
                continue
            first, other = found.setdefault(key, (number, value))
            if other != value:
                raise ScheduleConflict(key, first, number, (other, value))
    return LoraSchedule(**{key: value for key, (_, value) in found.items()})  # pyright: ignore[reportArgumentType]


def differences(schedule: LoraSchedule, steps: int, true_cfg_scale: float) -> Iterator[str]:
    """Say in what a task differs from what a LoRA was made for."""
    if schedule.steps is not None and schedule.steps != steps:
        yield f"was made for {schedule.steps} steps, and {steps} are asked for."
    wanted = schedule.true_cfg_scale
    if wanted is not None and max(wanted, 1) != max(true_cfg_scale, 1):
        yield f"was made for a guidance scale of {wanted:g}, and it is {true_cfg_scale:g}."


def known_schedule(*names: str) -> LoraSchedule | None:
    """The schedule of a known LoRA, by any of its names, or None."""
    for name in names:
        if lightning := _LIGHTNING.search(name):
            steps = int(lightning["steps"])
            if 1 <= steps <= MAX_STEPS:
                return LoraSchedule(shift=3.0, terminal=0.0, steps=steps, true_cfg_scale=1.0)
        if _DISTILL.search(name):
            return LoraSchedule(steps=15, true_cfg_scale=1.0)
    return None


def file_schedule(weights: str, *names: str) -> LoraSchedule | None:
    """The schedule of a known LoRA, by its names, its file or hub name, or the metadata of a file that is here."""
    path = Path(weights)
    by_name = known_schedule(*names, "/".join(path.parts[-2:]) if path.is_absolute() else weights)
    if by_name is not None:
        return by_name
    try:
        stat = path.stat()
    except OSError:
        return None
    return _metadata_schedule(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=1000)
def _metadata_schedule(path: Path, modified: int, size: int) -> LoraSchedule | None:
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError):
        return None
    return known_schedule(*(metadata[key] for key in _NAME_KEYS if key in metadata))
