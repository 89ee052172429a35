"""The task that all pictures of a command share. Knows where each part comes from; the schema checks them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ownware.batch.item import WireTask
from ownware.batch.names import parse_format
from ownware.batch.tasks.flag_options import task_of_flags
from ownware.batch.tasks.merging import merge, read_task


def read_shared_task(
    file: Path | None, flags: Mapping[str, Any], prompt: str | None, repeated: Mapping[str, Any] | None = None
) -> WireTask:
    """The task of a file, of a receipt, of the flags and of a prompt. Of equal fields the later one counts.

    `repeated` is the receipt's task. Raises `BatchError`, and `ItemError` for an unknown format of the results.
    """
    task = merge({} if file is None else read_task(file), repeated or {})
    task = merge(task, task_of_flags(flags))
    if prompt is not None:
        task["positivePrompt"] = prompt
    if "outputFormat" in task:
        parse_format(str(task["outputFormat"]))
    return task
