"""Which LoRAs are known to be distilled, and what becomes of several."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from pipelines.catalog.schedules import (
    LoraSchedule,
    ScheduleConflict,
    combine_schedules,
    differences,
    file_schedule,
    known_schedule,
)

FOUR, EIGHT = (LoraSchedule(shift=3.0, terminal=0.0, steps=steps, true_cfg_scale=1.0) for steps in (4, 8))
DISTILL = LoraSchedule(steps=15, true_cfg_scale=1.0)


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("Qwen-Image-Lightning-4steps-V1.0.safetensors", FOUR),
        ("Qwen-Image-Lightning-4steps-V1.0-bf16.safetensors", FOUR),
        ("Qwen-Image-Lightning-4steps-V2.0.safetensors", FOUR),
        ("Qwen-Image-Lightning-8steps-V1.0.safetensors", EIGHT),
        ("Qwen-Image-Lightning-8steps-V1.1-bf16.safetensors", EIGHT),
        ("Qwen-Image-Lightning-8steps-V2.0.safetensors", EIGHT),
        ("Qwen-Image-Edit-Lightning-8steps-V1.0.safetensors", EIGHT),
        ("lightx2v/Qwen-Image-2512-Lightning/Qwen-Image-2512-Lightning-4steps-V1.0-fp32.safetensors", FOUR),
        ("lightx2v/Qwen-Image-Lightning/Qwen-Image-Edit-2509/Qwen-Image-Edit-2509-Lightning-4steps-V1.0-bf16", FOUR),
        ("lightx2v/Qwen-Image-Edit-2511-Lightning/Qwen-Image-Edit-2511-Lightning-8steps-V1.0-bf16", EIGHT),
        ("https://host/x/qwen_image_lightning_8_steps.safetensors?download=true", EIGHT),
        ("DiffSynth-Studio/Qwen-Image-Distill-LoRA/model.safetensors", DISTILL),
        ("Qwen-Image-Lightning.safetensors", None),
        ("Qwen-Image-Lightning-99steps.safetensors", None),
        ("SDXL-Lightning-4steps.safetensors", None),
        ("lightning-in-the-sky.safetensors", None),
        ("Qwen-Image-ink-4steps.safetensors", None),
        ("", None),
    ],
)
def test_known_names(name: str, schedule: LoraSchedule | None) -> None:
    assert known_schedule("me:1@1", name) == schedule
    assert file_schedule(name) == schedule


@pytest.mark.parametrize("key", ["ss_output_name", "modelspec.title", "name"])
def test_a_renamed_file_is_known_by_its_metadata(tmp_path: Path, key: str) -> None:
    path = tmp_path / "fast.safetensors"
    path.write_bytes(save({"a": np.zeros(1)}, {key: "Qwen-Image-Lightning-8steps-V1.1"}))
    assert file_schedule(str(path)) == EIGHT
    path.write_bytes(save({"a": np.zeros(1)}, {key: "ink wash"}))
    assert file_schedule(str(path)) is None


def test_folders_further_up_say_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "Qwen-Image-Lightning-8steps" / "loras"
    folder.mkdir(parents=True)
    (folder / "ink.safetensors").write_bytes(b"no safetensors")
    assert file_schedule(str(folder / "ink.safetensors")) is None
    assert file_schedule(str(folder / "gone.safetensors")) is None


def test_several_that_agree() -> None:
    assert combine_schedules({}, ()) == LoraSchedule()
    assert combine_schedules({0: EIGHT, 2: EIGHT}, ()) == EIGHT
    assert combine_schedules({1: DISTILL, 2: LoraSchedule(shift=3.0)}, ()) == LoraSchedule(3.0, None, 15, 1.0)


def test_several_that_conflict() -> None:
    with pytest.raises(ScheduleConflict, match="steps is 4 and 8") as conflict:
        combine_schedules({1: FOUR, 3: EIGHT}, ())
    assert (conflict.value.key, conflict.value.first, conflict.value.second) == ("steps", 1, 3)
    assert combine_schedules({1: FOUR, 3: EIGHT}, {"steps"}) == LoraSchedule(3.0, 0.0, None, 1.0)


def test_differences() -> None:
    assert list(differences(EIGHT, 8, 0.5)) == []
    assert list(differences(LoraSchedule(shift=3.0), 20, 4.0)) == []
    assert list(differences(EIGHT, 20, 4.0)) == [
        "was made for 8 steps, and 20 are asked for.",
        "was made for a guidance scale of 1, and it is 4.",
    ]
