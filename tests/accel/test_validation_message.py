from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from accel.validation_message import validation_message

ROWS = TypeAdapter(dict[str, list[dict[str, int]]])


def refusal(data: Any) -> ValidationError:
    with pytest.raises(ValidationError) as caught:
        ROWS.validate_python(data)
    return caught.value


@pytest.mark.parametrize(
    ("data", "options", "path"),
    [
        ({"fits": [{"steps": 1}, {"steps": "many"}]}, {}, "fits.1.steps: Input should be"),
        ({"fits": [{"steps": "many"}]}, {"within": "profile"}, "profile.fits.0.steps: Input should be"),
        (3, {"whole": "the text"}, "the text: Input should be"),
        (3, {"within": "profile"}, "profile: Input should be"),
        (3, {}, "Input should be"),
        ({"fits": [{"steps": 1}]} | {"other": 5}, {"whole": "the text"}, "other: Input should be"),
    ],
)
def test_the_field_and_what_is_wrong_with_it(data: Any, options: dict[str, str], path: str) -> None:
    assert validation_message(refusal(data), **options).startswith(path)


def test_only_the_first_of_several_errors() -> None:
    message = validation_message(refusal({"a": 1, "b": 2}))
    assert message.startswith("a: ")
    assert "b" not in message.split(": ")[0]
    assert "\n" not in message
