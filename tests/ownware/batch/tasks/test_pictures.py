from typing import Any

from ownware.batch.tasks.pictures import map_pictures


def test_every_picture_of_a_task_is_changed_and_the_task_is_not() -> None:
    task: dict[str, Any] = {
        "inputs": {"referenceImages": ["a", 5], "seedImage": "b", "maskImage": "c", "strength": 1},
        "controlNet": [{"model": "edges", "guideImage": "d"}, {"model": "x"}, "y"],
        "ownware": {"alignTo": "auto", "keepUnchanged": "e"},
        "positivePrompt": "p",
    }
    before = repr(task)
    assert map_pictures(task, str.upper) == {
        "inputs": {"referenceImages": ["A", 5], "seedImage": "B", "maskImage": "C", "strength": 1},
        "controlNet": [{"model": "edges", "guideImage": "D"}, {"model": "x"}, "y"],
        "ownware": {"alignTo": "auto", "keepUnchanged": "E"},
        "positivePrompt": "p",
    }
    assert repr(task) == before


def test_a_task_whose_fields_are_of_other_types_stays() -> None:
    task: dict[str, Any] = {"inputs": "a", "controlNet": 7, "ownware": "x"}
    assert map_pictures(task, str.upper) == task


def test_auto_is_no_picture() -> None:
    task: dict[str, Any] = {"ownware": {"keepUnchanged": "auto"}}
    assert map_pictures(task, str.upper) == task
