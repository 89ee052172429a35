import uuid
from typing import Any

import pytest

from server.api.runware.check.validation import MAX_FINDINGS, describe, expectation, task_model, validate
from server.api.runware.schema.tasks import TASKS, UNSERVED, ImageInference
from server.errors import ApiError, TaskRejected


def task(**changes: Any) -> dict[str, Any]:
    sent = {
        "taskType": "imageInference",
        "taskUUID": str(uuid.UUID(int=1)),
        "model": "runware:108@1",
        "positivePrompt": "a large red circle",
        "width": 128,
        "height": 128,
    }
    return {name: value for name, value in (sent | changes).items() if value is not None}


def errors_of(sent: dict[str, Any], *, ignore_unknown: bool = False) -> list[ApiError]:
    with pytest.raises(TaskRejected) as caught:
        validate(ImageInference, sent, ignore_unknown=ignore_unknown)
    return list(caught.value.errors)


class TestTaskModel:
    @pytest.mark.parametrize("name", sorted(TASKS))
    def test_each_type_has_its_schema(self, name: str) -> None:
        assert task_model({"taskType": name}) is TASKS[name]

    @pytest.mark.parametrize(
        ("sent", "code", "text"),
        [
            ({}, "missingTaskType", "Missing required parameter 'taskType'."),
            ({"taskType": 7}, "invalidTaskType", "It must be a string."),
            ({"taskType": "imageInferenc"}, "unsupportedTaskType", "Did you mean 'imageInference'?"),
            ({"taskType": "x" * 999}, "unsupportedTaskType", "x…'"),
            ({"taskType": min(UNSERVED)}, "unsupportedTaskType", "is not served here."),
        ],
    )
    def test_any_other_is_refused(self, sent: dict[str, Any], code: str, text: str) -> None:
        with pytest.raises(TaskRejected) as caught:
            task_model(sent)
        (error,) = caught.value.errors
        assert error.code == code
        assert text in error.message


class TestValidate:
    def test_a_good_task_is_typed(self) -> None:
        typed, ignored = validate(ImageInference, task(steps=7), ignore_unknown=False)
        assert (typed.steps, ignored) == (7, [])

    def test_an_unknown_name_is_offered_its_nearest(self) -> None:
        (error,) = errors_of(task(stps=7))
        assert (error.code, error.parameter) == ("unknownParameter", "stps")
        assert "Did you mean 'steps'?" in error.message

    def test_or_ignored_where_nothing_else_is_wrong(self) -> None:
        _, ignored = validate(ImageInference, task(stps=7), ignore_unknown=True)
        assert ignored == ["stps"]
        assert [error.code for error in errors_of(task(stps=7, width=1), ignore_unknown=True)] == ["invalidWidth"]

    def test_unknown_names_come_last(self) -> None:
        assert [error.code for error in errors_of(task(aaa=1, width=1))] == ["invalidWidth", "unknownParameter"]

    def test_a_range_is_told_in_words_and_numbers(self) -> None:
        (error,) = errors_of(task(width=100))
        assert "an integer between 128 and 2048, in multiples of 16" in error.message
        assert error.details == {"type": "integer", "min": 128, "max": 2048, "multiplier": 16}

    def test_a_missing_parameter_is_named(self) -> None:
        (error,) = errors_of(task(positivePrompt=None))
        assert error.code == "missingPositivePrompt"

    def test_of_very_many_mistakes_the_first_are_told(self) -> None:
        wrong = task(lora=[{"model": "x", "weight": 99}] * 100)
        assert len(errors_of(wrong)) <= MAX_FINDINGS


@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        ("width", "an integer between 128 and 2048, in multiples of 16"),
        ("lora[0].weight", "a number between -4 and 4, in multiples of 0.01"),
        ("outputFormat", "one of: JPG, PNG, WEBP"),
        ("positivePrompt", "a string of 1 to 32000 characters"),
        ("includeCost", "true or false"),
        ("inputs", "an object"),
        ("nothing.known", "a valid value"),
    ],
)
def test_an_expectation_in_words(parameter: str, words: str) -> None:
    assert describe(expectation(ImageInference, parameter)) == words
