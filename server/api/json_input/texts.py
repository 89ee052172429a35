"""Checks that every string of a task can be encoded as UTF-8. Knows no schema.

JSON can contain half a surrogate pair. Clients that cut a text inside an emoji send one. No tokenizer, database or
answer can hold it.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from server.errors import ApiError, InvalidParameter, TaskRejected, UnknownParameter

MAX_FINDINGS = 20
_PIECE = 2**20  # characters at once: no other thread of Python runs meanwhile
_REASON = "It holds half a surrogate pair, which is no character."


def check_texts(task: dict[str, Any]) -> None:
    """Raise `TaskRejected` if a string has half a surrogate pair. The errors name the parameters."""
    if errors := list(islice(_errors(task), MAX_FINDINGS)):
        raise TaskRejected(*errors)


def is_text(value: str) -> bool:
    """Whether a string can be encoded as UTF-8."""
    if value.isascii():
        return True
    try:
        for start in range(0, len(value), _PIECE):
            value[start : start + _PIECE].encode()
    except UnicodeEncodeError:
        return False
    return True


def nesting(value: Any) -> int:
    """Return how deeply arrays and objects are nested."""
    depth, level = 0, [value]
    while level := [inner for outer in level if isinstance(outer, dict | list) for inner in _children(outer)]:
        depth += 1
    return depth


def _errors(task: dict[str, Any]) -> Iterator[ApiError]:
    todo: list[tuple[str, Any]] = [("", task)]
    while todo:
        path, value = todo.pop()
        if isinstance(value, str) and not is_text(value):
            message = f"Invalid value for '{path}' parameter. {_REASON}"
            yield InvalidParameter(path, message, details={"type": "string"})
        elif isinstance(value, list):
            todo += reversed([(f"{path}[{number}]", item) for number, item in enumerate(value)])
        elif isinstance(value, dict):
            if not all(map(is_text, value)):
                yield UnknownParameter(f"The name of a parameter cannot be read. {_REASON}", parameter=path or None)
            named = [(f"{path}.{name}".lstrip("."), item) for name, item in value.items() if is_text(name)]
            todo += reversed(named)


def _children(value: dict[str, Any] | list[Any]) -> list[Any]:
    return list(value.values()) if isinstance(value, dict) else value
