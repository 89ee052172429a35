"""Finds the pictures in a task of the wire, and puts others in their places. Knows the fields; opens no file."""

from collections.abc import Callable
from typing import Any

from ownware.batch.item import WireTask

AUTO = "auto"  # what `keepUnchanged` takes instead of a mask

_SINGLE = ("seedImage", "maskImage")


def map_pictures(task: WireTask, change: Callable[[str], str]) -> WireTask:
    """The task with each picture's text changed. What is no text stays, for the schema to refuse."""

    def changed(value: Any) -> Any:
        return change(value) if isinstance(value, str) else value

    task = dict(task)
    if isinstance(inputs := task.get("inputs"), dict):
        inputs = {name: changed(value) if name in _SINGLE else value for name, value in inputs.items()}
        if isinstance(references := inputs.get("referenceImages"), list):
            inputs["referenceImages"] = [changed(value) for value in references]
        task["inputs"] = inputs
    if isinstance(nets := task.get("controlNet"), list):
        task["controlNet"] = [
            {**net, "guideImage": changed(net["guideImage"])} if isinstance(net, dict) and "guideImage" in net else net
            for net in nets
        ]
    own = task.get("ownware")
    if isinstance(own, dict) and own.get("keepUnchanged") not in (None, AUTO):
        task["ownware"] = {**own, "keepUnchanged": changed(own["keepUnchanged"])}
    return task
