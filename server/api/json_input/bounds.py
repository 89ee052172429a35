"""Bounds the size of a raw task before anything else looks at it. Knows no schema.

The bounds are far above what any client sends. They keep a hostile task from costing seconds of validation.
"""

from collections.abc import Sequence
from typing import Any

from server.errors import ApiError, InvalidParameter, InvalidRequest, TaskRejected, UnknownParameter

MAX_ITEMS = 200  # of one list
MAX_KEYS = 200  # of one object
MAX_VALUES = 1000  # of one task, at every depth
MAX_DEPTH = 32  # lists and objects within each other
MAX_NAME = 255  # characters of a parameter's name
MAX_TEXT = 65_536  # characters of a string that is no image; twice the longest prompt
MAX_TEXTS = 1_000_000  # characters of all strings of one task that are no images
MAX_MARKS = 200_000  # commas and opening brackets of one request, also within its strings

_PICTURES = frozenset({"mask", "media", "references"})  # besides all names with "image" or "base64"
_MARKS: Sequence[str] = (",", "[", "{")
_SLICE = 2**20  # characters counted at once: no other thread of Python runs meanwhile


def check_marks(body: bytes | bytearray | str) -> None:
    """Raise `InvalidRequest` if the JSON may have more than `MAX_MARKS` values. It is not parsed yet."""
    marks = 0
    for start in range(0, len(body), _SLICE):
        end = start + _SLICE
        if isinstance(body, str):
            marks += sum(body.count(mark, start, end) for mark in _MARKS)
        else:
            marks += sum(body.count(mark.encode(), start, end) for mark in _MARKS)
        if marks > MAX_MARKS:
            message = f"The request has more than {MAX_MARKS} commas and opening brackets. Send fewer at once."
            raise InvalidRequest(message)


def check_bounds(task: dict[str, Any]) -> None:
    """Raise `TaskRejected` at the first list, object or string over its bound. The error names the parameter."""
    values = texts = 0
    todo: list[tuple[str, str, int, Any]] = [("", "", 0, task)]
    while todo:
        path, name, depth, value = todo.pop()
        if error := _fault(path, name, depth, value):
            raise TaskRejected(error)
        values += 1
        texts += len(value) if isinstance(value, str) and not _is_picture(name) else 0
        if texts > MAX_TEXTS:
            raise TaskRejected(InvalidRequest(f"The texts of a task have more than {MAX_TEXTS} characters."))
        if isinstance(value, list):
            todo += [(f"{path}[{number}]", name, depth + 1, item) for number, item in enumerate(value)]
        elif isinstance(value, dict):
            todo += [(f"{path}.{key}".lstrip("."), key, depth + 1, item) for key, item in value.items()]
        if values + len(todo) > MAX_VALUES:
            raise TaskRejected(InvalidRequest(f"A task has more than {MAX_VALUES} values."))


def _fault(path: str, name: str, depth: int, value: Any) -> ApiError | None:
    """The error of one value, without a look at those within it."""
    if isinstance(value, str):
        if len(value) > MAX_TEXT and not _is_picture(name):
            return _invalid(path, f"It has {len(value)} characters, at most {MAX_TEXT} are accepted.", "string")
        return None
    if not isinstance(value, list | dict):
        return None
    kind = "array" if isinstance(value, list) else "object"
    if depth > MAX_DEPTH:
        return _invalid(path, f"Arrays and objects are nested more than {MAX_DEPTH} deep.", kind)
    if isinstance(value, list):
        if len(value) > MAX_ITEMS:
            return _invalid(path, f"It has {len(value)} entries, at most {MAX_ITEMS} are accepted.", kind)
        return None
    if len(value) > MAX_KEYS:
        message = f"It has {len(value)} parameters, at most {MAX_KEYS} are accepted."
        return _invalid(path, message, kind) if path else InvalidRequest(message.replace("It", "The task"))
    if any(len(key) > MAX_NAME for key in value):
        message = f"The name of a parameter has more than {MAX_NAME} characters."
        return UnknownParameter(message, parameter=path or None)
    return None


def _invalid(path: str, reason: str, kind: str) -> InvalidParameter:
    return InvalidParameter(path, f"Invalid value for '{path}' parameter. {reason}", details={"type": kind})


def _is_picture(name: str) -> bool:
    """Whether a parameter of this name can hold the base64 of an image."""
    return name in _PICTURES or "image" in name.lower() or "base64" in name
