from pathlib import Path
from typing import Any

import pytest

from ownware.batch.tasks.flags import find_flag
from ownware.batch.tasks.values import (
    ValueProblem,
    absolute,
    read_cell,
    read_control,
    read_lora,
    read_outpaint,
    with_absolute_paths,
)

UUID = "7b1f6f0e-2c3b-4a55-9d43-0a4a0f3e7b10"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("seed", "7", 7),
        ("strength", "0.5", 0.5),
        ("fbCache", "Yes", True),
        ("fbCache", "0", False),
        ("prompt", "true", "true"),
        ("mask", "m.png", "/pictures/m.png"),
        ("alignTo", "auto", "auto"),
        ("align", "1", 1),
        ("keepUnchanged", "auto", "auto"),
        ("keepOutside", "m.png", "/pictures/m.png"),
        ("reference", "a.png | /b.png|", ["/pictures/a.png", "/b.png"]),
        ("lora", "outlines=0.6|ink", [{"model": "outlines", "weight": 0.6}, {"model": "ink"}]),
        ("outpaint", "left=64, right=32", {"left": 64, "right": 32}),
        ("control", "edges=e.png", [{"model": "edges", "guideImage": "/pictures/e.png"}]),
    ],
)
def test_a_cell(name: str, text: str, value: object) -> None:
    flag = find_flag(name)
    assert flag is not None
    assert read_cell(flag, text, Path("/pictures")) == value


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("seed", "1.5", "'1.5' is no whole number"),
        ("strength", "much", "'much' is no number"),
        ("fbCache", "maybe", "neither true nor false"),
        ("outpaint", "64", "no SIDE=PIXELS"),
        ("outpaint", "up=64", "top, right"),
        ("lora", "outlines=x", "'x' is no number"),
        ("control", "edges", "no MODEL=IMAGE"),
        ("control", "edges=", "no MODEL=IMAGE"),
    ],
)
def test_a_cell_that_cannot_be_read(name: str, text: str, reason: str) -> None:
    flag = find_flag(name)
    assert flag is not None
    with pytest.raises(ValueProblem, match=reason):
        read_cell(flag, text, Path())


def test_a_controlnet_with_its_fields() -> None:
    text = "ownware:2@1=a,b=c.png,weight=0.5,endStep=8,controlMode=prompt"
    expected: dict[str, Any] = {"model": "ownware:2@1", "guideImage": "/x/a,b=c.png"}
    assert read_control(text, Path("/x")) == {**expected, "weight": 0.5, "endStep": 8, "controlMode": "prompt"}


def test_a_lora_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "a=b.safetensors").touch()
    path = str(tmp_path / "a=b.safetensors")
    assert read_lora("a=b.safetensors", tmp_path) == {"model": path}
    assert read_lora("a=b.safetensors=0.5", tmp_path) == {"model": path, "weight": 0.5}


@pytest.mark.parametrize("text", ["https://box/a.png", "data:image/png;base64,AA", UUID])
def test_what_is_no_path_stays(text: str, tmp_path: Path) -> None:
    assert absolute(text, tmp_path) == text
    (tmp_path / UUID).touch()
    assert absolute(UUID, tmp_path) == str(tmp_path / UUID)


def test_outpaint_sides_are_named() -> None:
    assert read_outpaint("top=1,blur=2") == {"top": 1, "blur": 2}


def test_the_paths_of_a_task(tmp_path: Path) -> None:
    (tmp_path / "ink.safetensors").touch()
    task = {
        "inputs": {"referenceImages": ["a.png", 5], "seedImage": "b.png", "strength": 1},
        "controlNet": [{"model": "edges", "guideImage": "c.png"}, 7],
        "lora": [{"model": "ink.safetensors"}, {"model": "outlines"}, 3],
    }
    assert with_absolute_paths(task, tmp_path) == {
        "inputs": {"referenceImages": [f"{tmp_path}/a.png", 5], "seedImage": f"{tmp_path}/b.png", "strength": 1},
        "controlNet": [{"model": "edges", "guideImage": f"{tmp_path}/c.png"}, 7],
        "lora": [{"model": f"{tmp_path}/ink.safetensors"}, {"model": "outlines"}, 3],
    }
