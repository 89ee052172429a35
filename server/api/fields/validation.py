"""Validates the fields of a request against a pydantic model, and names those at fault as the client does.

Shared by the dialects of the other vendors. Knows no field.
"""

import functools
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from server.errors import ApiError, InvalidParameter, MissingParameter, TaskRejected

MAX_FINDINGS = 20  # a hostile request can hold very many
LONGEST_NAME = 64  # characters of a name in a message

M = TypeVar("M", bound=BaseModel)


def validate(model: type[M], raw: Mapping[str, Any]) -> M:
    """The typed fields. A null counts as absent, as some clients send it. Raises `TaskRejected`."""
    try:
        return model.model_validate({name: value for name, value in raw.items() if value is not None})
    except ValidationError as error:
        findings = error.errors(include_url=False, include_input=False)[:MAX_FINDINGS]
    errors: dict[str, ApiError] = {}
    for finding in findings:  # a union reports each of its branches; one error is enough
        found = _as_error(finding)
        errors.setdefault(str(found.parameter), found)
    raise TaskRejected(*errors.values())


def from_texts(model: type[BaseModel], texts: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a form, whose values are all text, with numbers and truth values as the model has them.

    A text that is neither is left to the validation.
    """
    kinds = _kinds(model)
    return {
        name: _value(value, kinds.get(name, frozenset())) if isinstance(value, str) else value
        for name, value in texts.items()
    }


def _as_error(finding: ErrorDetails) -> ApiError:
    name = _path(finding["loc"])
    if finding["type"] == "missing":
        return MissingParameter(name, f"Missing required parameter '{name}'.")
    reason = str(finding.get("ctx", {}).get("error", finding["msg"]))
    return InvalidParameter(name, f"Invalid value for '{name}' parameter. {reason[:1].upper()}{reason[1:]}.")


def _path(loc: tuple[int | str, ...]) -> str:
    path = ""
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{part[:LONGEST_NAME]}"
    return path.removeprefix(".")


@functools.cache  # the schema takes milliseconds
def _kinds(model: type[BaseModel]) -> dict[str, frozenset[str]]:
    """The JSON types that each field may have."""
    fields = model.model_json_schema()["properties"]
    branches = {name: schema.get("anyOf", [schema]) for name, schema in fields.items()}
    return {name: frozenset(each["type"] for each in found if "type" in each) for name, found in branches.items()}


def _value(text: str, kinds: frozenset[str]) -> Any:
    if "boolean" in kinds and text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind, read in (("integer", int), ("number", float)):
        if kind in kinds:
            try:
                return read(text)
            except ValueError:
                continue
    return text
