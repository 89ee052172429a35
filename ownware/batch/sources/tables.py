"""Reads tables of tasks: CSV with a header, or JSON lines. Each row is a task, or the reason why it is none.

Columns are named as the flags or as the wire's fields. Paths are relative to the table.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ownware.batch.item import BatchError, WireTask
from ownware.batch.tasks.flags import find_flag, nearest_flag, set_field
from ownware.batch.tasks.merging import task_fields
from ownware.batch.tasks.values import ValueProblem, absolute, read_cell, with_absolute_paths

_SOURCE = frozenset("source sources file image picture filename path".split())
_NAME = frozenset({"name", "stem"})
_DELIMITERS = ",;\t|"


@dataclass(frozen=True, slots=True)
class Row:
    """One row. `where` is the table and the row's line. `problem` is why it is no task."""

    where: str
    task: WireTask = field(default_factory=dict)
    source: Path | None = None
    name: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a table in order, and notes for the user."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def read_table(path: Path, *, needs_source: bool, needs_prompt: bool) -> Table:
    """Read a table. Raises `BatchError` when it cannot be read, is empty, or lacks a column that is needed."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BatchError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BatchError(f"{path} is no UTF-8 text: save it as CSV in UTF-8") from error
    if path.suffix.lower() == ".jsonl":
        table = _json_lines(path, text)
    else:
        table = _csv(path, text, needs_source=needs_source, needs_prompt=needs_prompt)
    if not table.rows:
        raise BatchError(f"{path} has no row")
    return table


def _csv(path: Path, text: str, *, needs_source: bool, needs_prompt: bool) -> Table:
    first_line = text.lstrip("\r\n").partition("\n")[0]
    delimiter = max(_DELIMITERS, key=first_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        lines = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise BatchError(f"{path}:{reader.line_num}: {error}") from error
    if not lines:
        raise BatchError(f"{path} has no row")
    header = [cell.strip() for cell in lines[0][1]]
    notes = _check_header(path, header, needs_source=needs_source, needs_prompt=needs_prompt)
    rows = (_csv_row(f"{path.name}:{number}", header, cells, path.absolute().parent) for number, cells in lines[1:])
    return Table(tuple(rows), notes)


def _check_header(path: Path, header: Sequence[str], *, needs_source: bool, needs_prompt: bool) -> tuple[str, ...]:
    """Notes about columns without effect. Raises `BatchError`."""
    plain = [name.lower() for name in header]
    if repeated := {name for name in plain if name and plain.count(name) > 1}:
        raise BatchError(f"{path}: two columns are called '{repeated.pop()}'")
    there = f"it has {', '.join(header)}"
    if needs_source and not _SOURCE & {*plain}:
        raise BatchError(f"{path} has no column 'source'; {there}")
    paths = {flag.path for name in header if (flag := find_flag(name)) is not None}
    if needs_prompt and "positivePrompt" not in paths:
        raise BatchError(f"{path} has no column 'prompt', and no --prompt is given; {there}")
    notes = []
    for name in header:
        if name.lower() in _SOURCE | _NAME or find_flag(name) is not None:
            continue
        if near := nearest_flag(name):
            raise BatchError(f"{path}: there is no column '{name}'. Did you mean '{near}'?")
        notes.append(f"{path.name}: the column '{name}' has no effect")
    return tuple(notes)


def _csv_row(where: str, header: Sequence[str], cells: Sequence[str], folder: Path) -> Row:
    if len(cells) > len(header):
        return Row(where, problem=f"the row has {len(cells)} cells and the header {len(header)}")
    task: WireTask = {}
    source: Path | None = None
    stem: str | None = None
    for name, cell in zip(header, cells, strict=False):
        text = cell.strip()
        if not text:
            continue
        if name.lower() in _SOURCE:
            source = Path(absolute(text, folder))
        elif name.lower() in _NAME:
            stem = text
        elif (flag := find_flag(name)) is not None:
            try:
                set_field(task, flag.path, read_cell(flag, text, folder))
            except ValueProblem as error:
                return Row(where, source=source, problem=f"{name}: {error}")
    return Row(where, task, source, stem)


def _json_lines(path: Path, text: str) -> Table:
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            rows.append(_json_row(f"{path.name}:{number}", line, path.absolute().parent))
    return Table(tuple(rows))


def _json_row(where: str, line: str, folder: Path) -> Row:
    try:
        document = json.loads(line)
    except ValueError as error:
        return Row(where, problem=f"the line is no JSON: {error}")
    if not isinstance(document, dict):
        return Row(where, problem="the line is no JSON object")
    source = next((document[name] for name in document if name.lower() in _SOURCE), None)
    stem = next((document[name] for name in document if name.lower() in _NAME), None)
    for name, value in (("source", source), ("name", stem)):
        if value is not None and not isinstance(value, str):
            return Row(where, problem=f"{name}: {value!r} is no text")
    try:
        task = _json_task(document, folder)
    except ValueProblem as error:
        return Row(where, problem=str(error))
    return Row(where, task, None if source is None else Path(absolute(source, folder)), stem)


def _json_task(document: Mapping[str, object], folder: Path) -> WireTask:
    """The task of an object whose fields are named as on the wire, or as flags with values as they are typed there."""
    task: WireTask = {}
    for name, value in task_fields(_without_place(document)).items():
        flag = find_flag(name)
        if flag is None:
            task[name] = value  # the schema names what is unknown
        elif isinstance(value, str) and flag.kind not in ("text", "picture"):
            try:
                set_field(task, flag.path, read_cell(flag, value, folder))
            except ValueProblem as error:
                raise ValueProblem(f"{name}: {error}") from error
        else:
            set_field(task, flag.path, value)
    return with_absolute_paths(task, folder)


def _without_place(document: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in document.items() if name.lower() not in _SOURCE | _NAME}
