"""A LoRA that belongs to a model's row: it acts in every task of the model, and the caller does not name it.

Knows names and schedules; reads no weights, and imports no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field

from pipelines.catalog.schedules import LoraSchedule, combine_schedules, file_schedule
from pipelines.limits import MAX_ADAPTER_WEIGHT
from pipelines.request import LoraUse


@dataclass(frozen=True, slots=True)
class OwnLora:
    """The weights of a LoRA, as in the row of a LoRA, and its strength."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    weights: str
    weight: Annotated[float, Field(ge=-MAX_ADAPTER_WEIGHT, le=MAX_ADAPTER_WEIGHT, allow_inf_nan=False)] = 1.0

    @property
    def use(self) -> LoraUse:
        """The LoRA in a request. Its name is that of its file."""
        path = Path(self.weights)
        return LoraUse(path.stem, path, self.weight)


def made_for(loras: Sequence[OwnLora]) -> LoraSchedule:
    """What the known ones among some LoRAs were made for. Raises `ScheduleConflict`."""
    known = {number: file_schedule(lora.weights) for number, lora in enumerate(loras)}
    return combine_schedules({number: schedule for number, schedule in known.items() if schedule is not None}, ())
