"""Tells how far a batch is: two bars on a terminal, and a line for each picture elsewhere.

Both go to the error stream. The paths of results go to standard output. Knows no task.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ownware.console import print_message

if TYPE_CHECKING:
    from rich.progress import Progress as Bars


class Progress:
    """Counts the pictures of a run. `total` are those to do."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.done = 0
        self._began = time.monotonic()

    def start(self, where: str) -> None:
        """A picture begins."""

    def step(self, step: int, steps: int) -> None:
        """A step of the picture is done."""

    def finish(self, where: str, paths: Sequence[Path], notes: Sequence[str], seconds: float) -> None:
        """A picture is finished."""
        self.done += 1
        self._say(f"{self.done} of {self.total}: {where}, {seconds:.1f} s{self._left()}")
        for note in notes:
            self._say(f"{where}: {note}")
        for path in paths:
            typer.echo(str(path))

    def fail(self, where: str, reason: str) -> None:
        """A picture has failed."""
        self.done += 1
        self._say(f"{self.done} of {self.total}: {where} failed: {reason}")

    def close(self) -> None:
        """No more pictures come."""

    def _say(self, line: str) -> None:
        print_message(line)

    def _left(self) -> str:
        left = self.total - self.done
        if not left:
            return ""
        seconds = (time.monotonic() - self._began) / self.done
        return f", {60 / max(seconds, 1e-3):.3g} pictures a minute, about {in_words(seconds * left)} left"


class TerminalProgress(Progress):
    """Two bars: all pictures, with their number a minute and the time left; and the steps of this one."""

    def __init__(self, total: int) -> None:
        super().__init__(total)
        self._bars = _bars()
        self._all = self._bars.add_task("pictures", total=total, rate="")
        self._one = self._bars.add_task("", total=None, rate="")

    def start(self, where: str) -> None:
        """See `Progress`."""
        self._bars.update(self._one, description=where, completed=0, total=None)

    def step(self, step: int, steps: int) -> None:
        """See `Progress`. The bars appear now, because loading a model has a bar of its own."""
        self._bars.start()
        self._bars.update(self._one, completed=step, total=steps)

    def finish(self, where: str, paths: Sequence[Path], notes: Sequence[str], seconds: float) -> None:
        """See `Progress`."""
        self.done += 1
        self._advance()
        for note in notes:
            self._say(f"{where}: {note}")
        if not sys.stdout.isatty():
            for path in paths:
                typer.echo(str(path))

    def fail(self, where: str, reason: str) -> None:
        """See `Progress`."""
        super().fail(where, reason)
        self._advance()

    def close(self) -> None:
        """See `Progress`."""
        self._bars.stop()

    def _advance(self) -> None:
        a_minute = 60 * self.done / max(time.monotonic() - self._began, 1e-3)
        self._bars.update(self._all, completed=self.done, rate=f"{a_minute:.3g} a minute")

    def _say(self, line: str) -> None:
        self._bars.console.print(f"ownware: {line}", markup=False, highlight=False)


def open_progress(total: int) -> Progress:
    """The progress for this error stream."""
    return TerminalProgress(total) if sys.stderr.isatty() else Progress(total)


def in_words(seconds: float) -> str:
    """A time as people say it: `40 s`, `12 min`, `3 h 5 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _bars() -> "Bars":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
    from rich.table import Column

    name = TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True))
    return Progress(
        name,
        BarColumn(20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        expand=True,
        speed_estimate_period=3600,  # a picture may take minutes
    )
