"""The items of a command: one for each picture of its sources and each row of its tables.

Knows sources and tasks; renders nothing.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

from ownware.batch.item import Item, WireTask
from ownware.batch.names import safe_stem, stem_of_prompt
from ownware.batch.sources.folders import find_pictures, is_table
from ownware.batch.sources.tables import Row, read_table
from ownware.batch.tasks.merging import edit_task, merge


def collect_edits(
    sources: Sequence[str], patterns: Sequence[str], task: WireTask, out: Path
) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """The edits of all sources in order, and notes. `task` has what all share. Raises `BatchError`."""
    items: list[Item] = []
    notes: list[str] = []
    seen: set[Path] = set()
    for source in sources:
        if is_table(source):
            table = read_table(Path(source), needs_source=True, needs_prompt="positivePrompt" not in task)
            items += [_edit_of_row(row, task) for row in table.rows]
            notes += table.notes
            continue
        for found in find_pictures(source, patterns, out):
            path = found.path.absolute()
            if path in seen:
                notes.append(f"{found.path} is named twice, and edited once")
                continue
            seen.add(path)
            items.append(Item(str(found.path), path.stem, edit_task(task, path), path, found.folder))
    return tuple(items), tuple(notes)


def collect_drawings(table: Path, task: WireTask) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """The pictures that the rows of a table describe, and notes. Raises `BatchError`."""
    found = read_table(table, needs_source=False, needs_prompt="positivePrompt" not in task)
    return tuple(_drawings(found.rows, task)), found.notes


def _edit_of_row(row: Row, task: WireTask) -> Item:
    problem = row.problem or (None if row.source is not None else "the row names no source")
    if row.source is None or problem is not None:
        return Item(row.where, safe_stem(row.name or "picture"), source=row.source, problem=problem)
    stem = safe_stem(row.name or row.source.stem)
    whole = merge(task, row.task)
    if "positivePrompt" not in whole:
        return Item(row.where, stem, source=row.source, problem="the row has no prompt")
    return Item(f"{row.where} {row.source.name}", stem, edit_task(whole, row.source), row.source)


def _drawings(rows: Sequence[Row], task: WireTask) -> Iterator[Item]:
    for row in rows:
        whole = merge(task, row.task)
        prompt = whole.get("positivePrompt")
        problem = row.problem or (None if prompt else "the row has no prompt")
        stem = safe_stem(row.name) if row.name else stem_of_prompt(str(prompt or "picture"))
        yield Item(row.where, stem, whole, problem=problem)
