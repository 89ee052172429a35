"""Schema validation: turns a raw task into a typed one, or into errors in the vendor's format.

Each error names the parameter, its type and its range. Knows the schema; knows no model.
"""

import difflib
from functools import cache
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipelines.limits import MAX_PROMPT
from server.api.runware.schema.objects import WireModel
from server.api.runware.schema.tasks import TASKS, UNSERVED, EarlierTask, WireTask
from server.errors import (
    ApiError,
    InvalidParameter,
    MissingParameter,
    TaskRejected,
    UnknownParameter,
    UnsupportedTaskType,
)
from server.media.fetching.web_address import WebAddressError

# A task of a megabyte can hold a hundred thousand mistakes. Describing them all would block other clients.
MAX_FINDINGS = 20
LONGEST_NAME = 64

M = TypeVar("M", bound=WireModel)


def task_model(task: WireTask) -> type[WireModel]:
    """The schema of the task's type. Raises `TaskRejected`."""
    name = task.get("taskType")
    if name is None:
        raise TaskRejected(MissingParameter("taskType", "Missing required parameter 'taskType'."))
    if not isinstance(name, str):
        raise TaskRejected(InvalidParameter("taskType", "Invalid value for 'taskType' parameter. It must be a string."))
    if name in TASKS:
        return TASKS[name]
    if name in UNSERVED:
        message = f"Task type '{name}' is not served here."
    else:
        name = _shortened(name)
        message = f"Unknown task type '{name}'.{_did_you_mean(name, TASKS)}"
    raise TaskRejected(UnsupportedTaskType(message, parameter="taskType", details={"allowedValues": sorted(TASKS)}))


def validate(model: type[M], task: WireTask, *, ignore_unknown: bool) -> tuple[M, list[str]]:
    """Check one task against its schema.

    Returns the typed task and the ignored unknown parameters. Raises `TaskRejected` with one error for each finding, up
    to `MAX_FINDINGS`. Unknown names come last.
    """
    try:
        return model.model_validate(task), []
    except ValidationError as error:
        findings = error.errors(include_url=False, include_input=True)
    unknown = [finding for finding in findings if finding["type"] == "extra_forbidden"]
    others = [finding for finding in findings if finding["type"] != "extra_forbidden"]
    if ignore_unknown and not others:
        ignored = [_path(finding["loc"]) for finding in unknown[:MAX_FINDINGS]]
        return model.model_validate(task, extra="ignore"), ignored
    kept = others if ignore_unknown else others + unknown
    errors: dict[str, ApiError] = {}
    for finding in kept[:MAX_FINDINGS]:  # a union reports each of its branches; one error is enough
        errors.setdefault(_path(finding["loc"]), _as_error(model, finding))
    raise TaskRejected(*errors.values())


def expectation(model: type[BaseModel], parameter: str) -> dict[str, Any]:
    """The constraints of a parameter: type, min, max, multiplier, default, allowedValues. Only those that apply."""
    node, root = _schema(model), _schema(model)
    for name in parameter.replace("[", ".[").split("."):
        node = _resolve(node, root)
        node = node.get("items", {}) if name.startswith("[") else node.get("properties", {}).get(name, {})
    default = node.get("default")
    node = _resolve(node, root)
    names = {
        "type": "type",
        "min": "minimum",
        "max": "maximum",
        "multiplier": "multipleOf",
        "allowedValues": "enum",
        "minItems": "minItems",
        "maxItems": "maxItems",
    }
    found = {ours: node[theirs] for ours, theirs in names.items() if theirs in node}
    if "const" in node:
        found |= {"type": "string", "allowedValues": [node["const"]]}
    if found.get("type") == "string":
        lengths = {"min": "minLength", "max": "maxLength"}
        found |= {ours: node[theirs] for ours, theirs in lengths.items() if theirs in node}
    if isinstance(default, bool | int | float | str):
        found["default"] = default
    return found


def describe(expected: dict[str, Any]) -> str:
    """Describe constraints: "an integer between 128 and 2048, in multiples of 16"."""
    kind = expected.get("type", "value")
    if values := expected.get("allowedValues"):
        return f"one of: {', '.join(str(value) for value in values)}"
    low, high = expected.get("min"), expected.get("max")
    if kind == "string":
        if low is not None and high is not None:
            return f"a string of {low} to {high} characters"
        return "a non-empty string" if low else "a string"
    if kind == "array" and "maxItems" in expected:
        return f"an array of at most {expected['maxItems']} entries"
    words = {"integer": "an integer", "number": "a number", "boolean": "true or false", "array": "an array"}
    words |= {"object": "an object"}
    text = words.get(kind, "a valid value")
    if low is not None and high is not None:
        text += f" between {low} and {high}"
    elif low is not None:
        text += f" of at least {low}"
    if (step := expected.get("multiplier")) is not None:
        text += f", in multiples of {step}"
    return text


def _as_error(model: type[BaseModel], finding: ErrorDetails) -> ApiError:
    parameter = _path(finding["loc"])
    if finding["type"] == "extra_forbidden":
        siblings = _siblings(model, parameter)
        name = parameter.rsplit(".", 1)[-1]
        message = f"Unknown parameter '{parameter}'.{_did_you_mean(name, siblings)}"
        return UnknownParameter(message, parameter=parameter)
    expected = expectation(model, parameter)
    words = describe(expected)
    if parameter == "taskUUID":
        words = "the id of an earlier task" if issubclass(model, EarlierTask) else "a UUID, unique for each task"
    if finding["type"] == "missing":
        message = f"Missing required parameter '{parameter}'. It must be {words}."
        return MissingParameter(parameter, message, details=expected)
    message = f"Invalid value for '{parameter}' parameter. It must be {words}."
    if finding["type"] == "string_too_long" and expected.get("max") == MAX_PROMPT:
        code = "invalidPositivePromptLength" if parameter == "positivePrompt" else None
        return InvalidParameter(parameter, message, code=code, details=expected)
    if finding["type"] == "string_pattern_mismatch" and parameter != "taskUUID":
        message = f"Invalid value for '{parameter}' parameter. It must be an http or https address."
    if isinstance(cause := finding.get("ctx", {}).get("error"), WebAddressError):
        message = f"Invalid value for '{parameter}' parameter. The URL {cause}."
    return InvalidParameter(parameter, message, details=expected)


def _path(loc: tuple[int | str, ...]) -> str:
    path = ""
    for part in loc:
        path += f"[{part}]" if isinstance(part, int) else f".{_shortened(part)}" if path else _shortened(part)
    return path


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else name[:LONGEST_NAME] + "…"


def _siblings(model: type[BaseModel], parameter: str) -> list[str]:
    """The known names beside an unknown one."""
    node, root = _schema(model), _schema(model)
    for name in parameter.replace("[", ".[").split(".")[:-1]:
        node = _resolve(node, root)
        node = node.get("items", {}) if name.startswith("[") else node.get("properties", {}).get(name, {})
    return list(_resolve(node, root).get("properties", {}))


def _resolve(node: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    """Follow references and look through `X | None` until a plain schema is reached."""
    while True:
        if "$ref" in node:
            node = root["$defs"][node["$ref"].rsplit("/", 1)[-1]]
        elif "anyOf" in node:
            node = next(branch for branch in node["anyOf"] if branch.get("type") != "null")
        else:
            return node


def _did_you_mean(name: str, known: Any) -> str:
    by_lower = {str(item).lower(): str(item) for item in known}
    near = difflib.get_close_matches(name.lower(), by_lower, n=1)
    return f" Did you mean '{by_lower[near[0]]}'?" if near else ""


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()
