from typing import Any

import pytest

from server.api.fields.extensions import Extensions, Integer, Number, Prompt
from server.api.fields.validation import LONGEST_NAME, MAX_FINDINGS, from_texts, validate
from server.errors import ApiError, MissingParameter, TaskRejected


class Example(Extensions):
    """A vendor's request."""

    prompt: Prompt
    n: Integer = 1
    speed: Number | None = None
    fast: bool = False


def errors_of(raw: dict[str, Any]) -> tuple[ApiError, ...]:
    with pytest.raises(TaskRejected) as caught:
        validate(Example, raw)
    return caught.value.errors


def test_nulls_are_absent_and_unknown_fields_are_ignored() -> None:
    example = validate(Example, {"prompt": "a", "n": None, "user": {"id": 5}})
    assert (example.prompt, example.n) == ("a", 1)


@pytest.mark.parametrize(
    ("raw", "parameter"),
    [
        ({"prompt": "a", "n": "2"}, "n"),
        ({"prompt": "a", "n": True}, "n"),
        ({"prompt": "a", "speed": "fast"}, "speed"),
        ({"prompt": ["a"]}, "prompt"),
        ({"prompt": "a", "loras": [{"scale": 1}]}, "loras[0].path"),
        ({"prompt": "a", "loras": [{"path": "a", "scale": 9}]}, "loras[0].scale"),
        ({"prompt": "a", "cache": {"type": "fbcache", "limit": 1}}, "cache.limit"),
        ({"prompt": "a", "cache": "deep"}, "cache.type"),
    ],
)
def test_a_field_at_fault_is_named(raw: dict[str, Any], parameter: str) -> None:
    (error,) = errors_of(raw)
    assert error.parameter == parameter
    assert error.message.startswith(f"Invalid value for '{parameter}' parameter. ") or isinstance(
        error, MissingParameter
    )


def test_what_is_missing() -> None:
    (error,) = errors_of({})
    assert (type(error), error.message) == (MissingParameter, "Missing required parameter 'prompt'.")


def test_errors_are_few_and_short() -> None:
    loras = [{"path": 5, "scale": "a"}] * 19
    assert len(errors_of({"prompt": 5, "loras": loras})) == MAX_FINDINGS
    (error,) = errors_of({"prompt": "a", "cache": {"type": "fbcache", "a" * 200: 1}})
    assert error.parameter == f"cache.{'a' * LONGEST_NAME}"


def test_texts_of_a_form_become_what_the_model_has() -> None:
    texts = {"prompt": "5", "n": "2", "speed": "1.5", "fast": "True", "other": "7"}
    assert from_texts(Example, texts) == {"prompt": "5", "n": 2, "speed": 1.5, "fast": True, "other": "7"}
    texts = {"prompt": "a", "n": "two", "speed": "", "fast": "maybe"}
    assert from_texts(Example, texts) == texts
