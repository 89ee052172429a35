"""Half a surrogate pair fails its own task, by name."""

from typing import Any

import pytest

from server.api.json_input.texts import check_texts, is_text, nesting
from server.errors import TaskRejected

HALF = "a cat \ud83d"


@pytest.mark.parametrize(
    ("task", "codes", "parameters"),
    [
        ({"positivePrompt": HALF}, ["invalidPositivePrompt"], ["positivePrompt"]),
        ({"lora": [{"model": "a"}, {"model": HALF}]}, ["invalidLora"], ["lora[1].model"]),
        (
            {"negativePrompt": HALF, "advancedFeatures": {"ultralytics": {"positivePrompt": HALF}}},
            ["invalidNegativePrompt", "invalidUltralytics"],
            ["negativePrompt", "advancedFeatures.ultralytics.positivePrompt"],
        ),
        ({"inputs": {"referenceImages": [HALF]}}, ["invalidReferenceImages"], ["inputs.referenceImages[0]"]),
        ({HALF: 1}, ["unknownParameter"], [None]),
        ({"settings": {HALF: 1}}, ["unknownParameter"], ["settings"]),
    ],
)
def test_each_string_is_named(task: dict[str, Any], codes: list[str], parameters: list[str | None]) -> None:
    with pytest.raises(TaskRejected) as rejected:
        check_texts(task)
    assert [error.code for error in rejected.value.errors] == codes
    assert [error.parameter for error in rejected.value.errors] == parameters


def test_only_the_first_of_very_many_are_named() -> None:
    with pytest.raises(TaskRejected) as rejected:
        check_texts({"tags": [HALF] * 1000})
    assert len(rejected.value.errors) == 20


def test_whole_characters_pass() -> None:
    check_texts({"positivePrompt": "a cat \U0001f600 und ein Fuß", "steps": 3, "lora": [{"model": "a"}]})


def test_text_is_what_can_be_encoded() -> None:
    assert [is_text(text) for text in ("", "a", "ä\U0001f600", HALF, "\udc00")] == [True, True, True, False, False]


def test_nesting() -> None:
    assert [nesting(value) for value in (1, [], [1], {"a": [{}]})] == [0, 0, 1, 2]
