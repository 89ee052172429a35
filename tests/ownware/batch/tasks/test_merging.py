import json
from pathlib import Path
from typing import Any

import pytest

from ownware.batch.item import BatchError
from ownware.batch.tasks.merging import edit_task, merge, read_task, task_fields


def test_fields_above_win_within_objects_too() -> None:
    below: dict[str, Any] = {"steps": 8, "inputs": {"strength": 0.5, "maskImage": "m"}, "lora": [1, 2]}
    above: dict[str, Any] = {"seed": 1, "inputs": {"strength": 0.7}, "lora": [3]}
    expected = {"steps": 8, "seed": 1, "inputs": {"strength": 0.7, "maskImage": "m"}, "lora": [3]}
    merged = merge(below, above)
    assert merged == expected
    merged["inputs"]["strength"] = 0
    assert (below["inputs"]["strength"], above["inputs"]["strength"]) == (0.5, 0.7)


def test_a_task_of_the_wire_without_how_it_is_sent() -> None:
    task = {"taskType": "imageInference", "taskUUID": "x", "outputType": "URL", "seedImage": "a.png", "steps": None}
    assert task_fields(task | {"seed": 7}) == {"seed": 7, "inputs": {"seedImage": "a.png"}}


def test_one_reference_may_be_a_text() -> None:
    assert task_fields({"referenceImages": "a.png"}) == {"inputs": {"referenceImages": ["a.png"]}}


@pytest.mark.parametrize("several", [False, True])
def test_a_task_of_a_file_has_paths_from_there(tmp_path: Path, several: bool) -> None:
    task = {"positivePrompt": "p", "inputs": {"referenceImages": ["a.png"]}}
    path = tmp_path / "task.json"
    path.write_text("\ufeff" + json.dumps([task] if several else task), encoding="utf-8")
    assert read_task(path) == {"positivePrompt": "p", "inputs": {"referenceImages": [str(tmp_path / "a.png")]}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Expecting"),
        ("[]", "must have one task"),
        ("[{}, {}]", "must have one task"),
        ("7", "must have one task"),
        ('{"taskType": "imageUpload"}', "is a task of type 'imageUpload'"),
        (None, "No such file"),
        ('{"inputs": 5}', "inputs: 5 is no object"),
        ('{"inputs": {"referenceImages": 5}}', "inputs.referenceImages: 5 is no list"),
    ],
)
def test_a_file_that_is_no_task(tmp_path: Path, text: str | None, reason: str) -> None:
    path = tmp_path / "task.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BatchError, match=f"--task: .*{reason}"):
        read_task(path)


class TestAnEdit:
    def test_the_source_is_the_first_reference(self) -> None:
        task = {"inputs": {"referenceImages": ["/hat.png"]}}
        assert edit_task(task, Path("/a.png"))["inputs"] == {"referenceImages": ["/a.png", "/hat.png"]}
        assert task == {"inputs": {"referenceImages": ["/hat.png"]}}

    @pytest.mark.parametrize(
        "fields", [{"inputs": {"maskImage": "/m.png"}}, {"inputs": {"strength": 0.5}}, {"outpaint": {"left": 64}}]
    )
    def test_it_is_the_seed_image_where_one_is_needed(self, fields: dict[str, Any]) -> None:
        assert edit_task(fields, Path("/a.png"))["inputs"]["seedImage"] == "/a.png"
        assert "seedImage" not in edit_task({}, Path("/a.png"))["inputs"]

    def test_another_seed_image_stays(self) -> None:
        task = {"inputs": {"maskImage": "/m.png", "seedImage": "/b.png"}}
        assert edit_task(task, Path("/a.png"))["inputs"]["seedImage"] == "/b.png"
