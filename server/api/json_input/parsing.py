"""Parses the JSON of a request, and checks what every object of it must have. Knows no schema.

Shared by all dialects.
"""

import json
import re
from typing import Any, NoReturn

from pydantic_core import from_json

from server.api.json_input.bounds import check_bounds, check_marks
from server.api.json_input.long_texts import put_back, take_out
from server.api.json_input.texts import check_texts, nesting
from server.errors import InvalidRequest

MAX_NESTING = 200  # the limit of pydantic's parser
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")


def parse_json(body: bytes | bytearray | str) -> Any:
    """The JSON value of a body. A string of it may have half a surrogate pair. Raises `InvalidRequest`."""
    check_marks(body)
    short, texts = take_out(body)
    try:
        return put_back(_parse(short), texts) if texts else _parse(body)
    except ValueError as error:
        raise InvalidRequest(f"The request is not valid JSON: {error}.") from error


def parse_object(body: bytes | bytearray) -> dict[str, Any]:
    """The one object of a body, with few and short values and whole characters.

    Raises `InvalidRequest`, or `TaskRejected` naming the parameters at fault.
    """
    value = parse_json(body)
    if not isinstance(value, dict):
        raise InvalidRequest("The request must be a JSON object.")
    check_object(value)
    return value


def check_object(value: dict[str, Any]) -> None:
    """Raise `TaskRejected` if an object has too many or too long values, or half a character."""
    check_bounds(value)
    check_texts(value)


def _parse(body: bytes | bytearray | str) -> Any:
    try:
        return from_json(body, allow_inf_nan=False)
    except (ValueError, TypeError):  # a TypeError for a string that cannot be encoded
        text = body if isinstance(body, str) else body.decode("utf-8", "surrogatepass")
        if _SURROGATE.search(text) is None:
            raise
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if nesting(value) > MAX_NESTING:
        raise ValueError("it is nested too deeply")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
