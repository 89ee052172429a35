"""Declares the flags of a task on a command, and turns what was given into a task.

`--maskMargin` is the same as `--mask-margin`, because the wire spells it so.
"""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from ownware.batch.item import BatchError, WireTask
from ownware.batch.option_groups import Command, spread_parameter
from ownware.batch.tasks.flags import FLAGS, LISTS, Kind, TaskFlag, kebab, set_field
from ownware.batch.tasks.values import ValueProblem, read_cell

# For `typer.Typer.command`: the spelling of the wire is accepted too.
WIRE_SPELLING: dict[str, Any] = {"context_settings": {"token_normalize_func": kebab}}

_TYPES: dict[Kind, Any] = {"integer": int | None, "number": float | None, "switch": bool | None}
_PANEL = "Task"


def with_task_flags(command: Command) -> Command:
    """The command with a flag for each field of a task. It gets them as `flags`, by the names of parameters."""
    return spread_parameter(command, "flags", [_parameter(flag) for flag in FLAGS], lambda flags: flags)


def task_of_flags(flags: Mapping[str, Any]) -> WireTask:
    """The fields that the flags set. Paths are relative to the working directory. Raises `BatchError`."""
    task: WireTask = {}
    for flag in FLAGS:
        given = flags[flag.parameter]
        if given is None or given == []:
            continue
        try:
            set_field(task, flag.path, _value(flag, given))
        except ValueProblem as error:
            raise BatchError(f"{flag.flag}: {error}") from error
    return task


def _value(flag: TaskFlag, given: Any) -> object:
    here = Path.cwd()
    if flag.kind not in LISTS:
        return read_cell(flag, given, here) if isinstance(given, str) else given
    values: list[object] = []
    for text in given:
        found = read_cell(flag, text, here)
        values += found if isinstance(found, list) else [found]
    return values


def _parameter(flag: TaskFlag) -> inspect.Parameter:
    kind = list[str] | None if flag.kind in LISTS else _TYPES.get(flag.kind, str | None)
    option = typer.Option(flag.flag, help=flag.help, rich_help_panel=_PANEL)
    keyword = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(flag.parameter, keyword, default=None, annotation=Annotated[kind, option])
