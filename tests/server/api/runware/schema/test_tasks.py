import uuid
from typing import Any

import pytest
from pydantic import ValidationError

from server.api.runware.schema.tasks import TASKS, UNSERVED, ControlNetPreprocess, ImageInference, Ping

UUID = str(uuid.UUID(int=1))


def made(**changes: Any) -> ImageInference:
    task = {"taskType": "imageInference", "taskUUID": UUID, "model": "m", "positivePrompt": "a large red circle"}
    return ImageInference.model_validate(task | changes)


def test_a_type_is_served_or_not() -> None:
    assert not TASKS.keys() & UNSERVED


@pytest.mark.parametrize("name", sorted(TASKS))
def test_each_task_says_its_type(name: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TASKS[name].model_validate({"taskType": "another"})
    assert ("taskType",) in {finding["loc"] for finding in caught.value.errors()}


def test_what_is_not_sent_is_left_open() -> None:
    task = made()
    assert (task.numberResults, task.outputType, task.outputFormat, task.deliveryMethod) == (1, "URL", "JPG", "sync")
    assert task.width is task.height is task.steps is task.seed is task.CFGScale is None


def test_twenty_results_at_most() -> None:
    assert made(numberResults=20).numberResults == 20
    with pytest.raises(ValidationError):
        made(numberResults=21)


def test_both_spellings_of_preprocessing_are_one_task() -> None:
    kinds = {TASKS[name] for name in ("controlNetPreprocess", "imageControlNetPreProcess")}
    assert kinds == {ControlNetPreprocess}


def test_a_ping_needs_no_uuid() -> None:
    assert Ping.model_validate({"taskType": "ping", "ping": True}).taskType == "ping"
