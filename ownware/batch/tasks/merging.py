"""Puts a task together from a file, a receipt, the flags and a table's row, and the picture that it edits.

Knows the fields that hold pictures; the schema checks the rest.
"""

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from ownware.batch.item import BatchError, WireTask
from ownware.batch.tasks.values import ValueProblem, with_absolute_paths

# What a command sets itself, or what is of no use without a client that waits.
_OWN = ("taskType", "taskUUID", "deliveryMethod", "outputType", "ttl", "includeCost", "webhookURL", "uploadEndpoint")
_OBJECTS = ("inputs", "settings", "acceleratorOptions", "outpaint", "safety", "advancedFeatures")
_PICTURES_OF_TASK = ("referenceImages", "seedImage", "maskImage", "strength")


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> WireTask:
    """A task with the fields of both. Of equal fields the one `above` counts, also within objects."""
    merged = deepcopy(dict(below))
    for name, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(name), dict)
        merged[name] = merge(merged[name], value) if both else deepcopy(value)
    return merged


def read_task(path: Path) -> WireTask:
    """The task of a JSON file: an object, or an array of one. Paths in it are relative to the file.

    Raises `BatchError`.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BatchError(f"--task: {path}: {error.strerror}") from error
    except ValueError as error:
        raise BatchError(f"--task: {path}: {error}") from error
    if isinstance(document, list) and len(document) == 1:
        document = document[0]
    if not isinstance(document, dict):
        raise BatchError(f"--task: {path} must have one task, as a JSON object")
    if (kind := document.get("taskType", "imageInference")) != "imageInference":
        raise BatchError(f"--task: {path} is a task of type '{kind}', not imageInference")
    try:
        return with_absolute_paths(task_fields(document), path.absolute().parent)
    except ValueProblem as error:
        raise BatchError(f"--task: {path}: {error}") from error


def task_fields(document: Mapping[str, Any]) -> WireTask:
    """The fields that say what to make: without how it is sent, and with all pictures under `inputs`.

    Raises `ValueProblem` where an object or a list is something else.
    """
    task = {name: value for name, value in document.items() if name not in _OWN and value is not None}
    for name in _OBJECTS:
        if not isinstance(task.get(name, {}), dict):
            raise ValueProblem(f"{name}: {task[name]!r} is no object")
    inputs = {name: task.pop(name) for name in _PICTURES_OF_TASK if name in task}
    task = merge(task, {"inputs": inputs}) if inputs else task
    references = task.get("inputs", {}).get("referenceImages", [])
    if isinstance(references, str):
        task["inputs"] = {**task["inputs"], "referenceImages": [references]}
    elif not isinstance(references, list):
        raise ValueProblem(f"inputs.referenceImages: {references!r} is no list")
    return task


def edit_task(task: Mapping[str, Any], source: Path) -> WireTask:
    """The task that edits a source. It is the first reference, and the seed image of a task that needs one."""
    inputs = dict(task.get("inputs", {}))
    inputs["referenceImages"] = [str(source), *inputs.get("referenceImages", ())]
    needs_seed_image = "maskImage" in inputs or "strength" in inputs or "outpaint" in task
    if needs_seed_image:
        inputs.setdefault("seedImage", str(source))
    return {**deepcopy(dict(task)), "inputs": inputs}
