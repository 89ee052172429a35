from typing import Any

import pytest

from server.api.json_input.bounds import MAX_MARKS
from server.api.json_input.parsing import MAX_NESTING, parse_json, parse_object
from server.errors import InvalidRequest, TaskRejected


@pytest.mark.parametrize("body", ['{"a": [1, 2.5, null, "ä"]}', '{"a": [1, 2.5, null, "ä"]}'.encode()])
def test_bytes_and_text(body: Any) -> None:
    assert parse_json(body) == {"a": [1, 2.5, None, "ä"]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "is not valid JSON"),
        (b"\xff", "is not valid JSON"),
        (b"[Infinity]", "is not valid JSON"),
        (b'["\\ud800", NaN]', "NaN is not a JSON number"),
        (b'["\\ud800",' + b"[" * (MAX_NESTING + 1) + b"]" * (MAX_NESTING + 1) + b"]", "nested too deeply"),
        (b"," * (MAX_MARKS + 1), "commas and opening brackets"),
    ],
)
def test_what_is_no_json(body: bytes, message: str) -> None:
    with pytest.raises(InvalidRequest, match=message):
        parse_json(body)


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"5"])
def test_an_object_is_asked_for(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="must be a JSON object"):
        parse_object(body)


@pytest.mark.parametrize(
    ("body", "parameter"), [(b'{"prompt": "\\ud800"}', "prompt"), (b'{"loras": [' + b"1," * 200 + b"1]}", "loras")]
)
def test_what_is_in_it_is_bounded_and_readable(body: bytes, parameter: str) -> None:
    with pytest.raises(TaskRejected) as caught:
        parse_object(body)
    assert [error.parameter for error in caught.value.errors] == [parameter]
