"""What a command says at its end: a line, and a table of what has failed and why. Also the plan of a dry run."""

import sys
from collections.abc import Sequence
from pathlib import Path

import typer

from ownware.batch.manifest import Manifest
from ownware.batch.plan import Planned
from ownware.batch.progress import in_words
from ownware.batch.renderers.base import Renderer
from ownware.batch.runner import Outcome
from ownware.console import print_message

DONE, NOT_ALL, INTERRUPTED = 0, 1, 130
_MOST_FAILURES = 50  # in the table; the manifest has all
_NARROW = 100  # columns where the error stream is no terminal


def report(outcome: Outcome, total: int, before: int, folder: Path) -> int:
    """Print what a run has done, and return the exit status. `before` were done in earlier runs."""
    if outcome.failures:
        _print_failures(outcome.failures)
    made = outcome.done + before
    earlier = f", {before} of them in earlier runs" if before else ""
    print_message(f"{made} of {total} pictures are in {folder}{earlier}")
    if outcome.stopped is not None:
        print_message(f"stopped: {outcome.stopped}")
    if made < total:
        print_message("the same command goes on with what is missing or has failed")
    if outcome.interrupted:
        return INTERRUPTED
    return DONE if made == total else NOT_ALL


def print_plan(planned: Sequence[Planned], todo: Sequence[Planned], manifest: Manifest, renderer: Renderer) -> None:
    """Print what would be made, from what, and how long it would take."""
    waiting = {each.key for each in todo}
    for each in planned:
        if each.problem is not None:
            typer.echo(f"{each.item.where}: cannot be made: {each.problem}")
            continue
        state = "" if each.key in waiting else " (done)" if each.done else " (left out)"
        typer.echo(f"{each.item.where} → {', '.join(each.outputs)}{state}")
        for note in each.notes:
            typer.echo(f"  {note}")
    good = [each for each in todo if each.problem is None]
    bad = f", {len(todo) - len(good)} cannot be made" if len(good) < len(todo) else ""
    typer.echo(f"{len(planned)} pictures, {len(good)} to make{bad}; {_time(good, manifest, renderer)}")


def _time(todo: Sequence[Planned], manifest: Manifest, renderer: Renderer) -> str:
    if not todo:
        return "nothing to wait for"
    if (learnt := manifest.seconds_per_picture()) is not None:
        return f"about {in_words(learnt * len(todo))}, as earlier pictures took"
    seconds = [renderer.seconds(each.task) for each in todo]
    known = [each for each in seconds if each is not None]
    if len(known) < len(seconds):
        return "the time is known when the first picture is done"
    return f"about {in_words(max(1.0, sum(known)))}, and the time to load the model"


def _print_failures(failures: Sequence[tuple[str, str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("picture", "reason", title=f"{len(failures)} failed", title_justify="left", show_lines=False)
    for where, reason in failures[:_MOST_FAILURES]:
        table.add_row(Text(where), Text(reason))
    if len(failures) > _MOST_FAILURES:
        table.add_row("…", f"and {len(failures) - _MOST_FAILURES} more, in the manifest")
    width = None if sys.stderr.isatty() else _NARROW
    Console(stderr=True, width=width).print(table)
