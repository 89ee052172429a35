from pathlib import Path

import pytest

from pipelines.catalog.own_lora import OwnLora, made_for
from pipelines.catalog.schedules import LoraSchedule, ScheduleConflict
from pipelines.request import LoraUse

EIGHT = "lightx2v/Qwen-Image-Lightning/Qwen-Image-Lightning-8steps-V2.0.safetensors"
FOUR = EIGHT.replace("8steps", "4steps")


def test_its_use_is_called_by_its_file() -> None:
    assert OwnLora(EIGHT, 0.5).use == LoraUse("Qwen-Image-Lightning-8steps-V2.0", Path(EIGHT), 0.5)


def test_what_known_ones_were_made_for() -> None:
    assert made_for(()) == made_for([OwnLora("/nowhere/style.safetensors")]) == LoraSchedule()
    assert made_for([OwnLora("/nowhere/style.safetensors"), OwnLora(EIGHT)]) == LoraSchedule(3.0, 0.0, 8, 1.0)
    with pytest.raises(ScheduleConflict, match="steps is 8 and 4"):
        made_for([OwnLora(EIGHT), OwnLora(FOUR)])
