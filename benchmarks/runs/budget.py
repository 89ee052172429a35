"""Runs the rows of a benchmark within a time limit: each row's figures are written before the next row starts.

A run that is cut short still counts. Knows no model and no figure.
"""

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import FrameType
from typing import Any

Figures = dict[str, Any]

# A row that takes this many times its seconds is ended, so that it cannot take the time of all others.
PATIENCE = 3.0
SHORTEST_LIMIT = 150.0  # seconds: any row may be the first one, which loads kernels, or compiles


@dataclass(frozen=True)
class Row:
    """One row: its name, what measures it, and the seconds that it takes on a fast card."""

    name: str
    measure: Callable[[], Figures]
    expected_seconds: float = 10.0


class Budget:
    """A time limit that starts when it is made."""

    def __init__(self, minutes: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._end = clock() + 60 * minutes

    @property
    def left(self) -> float:
        """Seconds until the limit; negative after it."""
        return self._end - self._clock()


class RowTooSlow(TimeoutError):
    """A row has taken several times the seconds that it was given."""


def run_rows(
    rows: Sequence[Row], budget: Budget, recover: Callable[[], None] = lambda: None
) -> Iterator[tuple[str, Figures]]:
    """The figures of each row, in order. A row that no longer fits the time is skipped, and says so.

    A row that fails or takes too long gives its error. Then `recover` frees what it has left behind, so that the rows
    after it are still measured.
    """
    for row in rows:
        if row.expected_seconds > budget.left:
            yield row.name, {"skipped": f"takes about {row.expected_seconds:.0f} s, and {budget.left:.0f} s are left"}
            continue
        figures, failure = Figures(), None
        try:
            with time_limit(min(budget.left, max(SHORTEST_LIMIT, PATIENCE * row.expected_seconds))):
                figures = row.measure()
        # Kernels and compilers raise errors of any kind, and a harness may end the program.
        except (Exception, SystemExit) as error:  # noqa: BLE001  the line says it
            failure = describe_failure(error)
        if failure is None:
            yield row.name, figures
        else:
            with suppress(RuntimeError):  # a device that has failed refuses this too
                recover()  # the error is gone, and with it the tensors of its frames
            yield row.name, {"failed": failure}


def describe_failure(error: BaseException) -> str:
    """The type and the message of an error. A compiler wraps errors of any kind, also that a row was ended."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, RowTooSlow):
            return f"{RowTooSlow.__name__}: {inner}"
        inner = inner.__cause__ or inner.__context__
    head, *rest = str(error).strip().splitlines() or [type(error).__name__]
    return f"{type(error).__name__}: {' '.join((head, *rest[:1])) if head.endswith(':') else head}"


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise `RowTooSlow` in the block after some seconds. Waits for a call into a library that is under way.

    Needs the main thread.
    """

    def end(number: int, frame: FrameType | None) -> None:
        raise RowTooSlow(f"ended after {seconds:.0f} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 0.001))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def select_rows(rows: Sequence[Row], only: Sequence[str]) -> list[Row]:
    """The rows whose names contain one of the words. All of them without words. Raises `ValueError` for none."""
    chosen = select_names([row.name for row in rows], only, "row")
    return [row for row in rows if row.name in chosen]


def rows_after(rows: Sequence[Row], name: str | None) -> list[Row]:
    """The rows behind the one of this name; all of them for None. Raises `ValueError` for an unknown name."""
    if name is None:
        return list(rows)
    names = [row.name for row in rows]
    if name not in names:
        raise ValueError(f"no row is called {name}; there are: {', '.join(names)}")
    return list(rows[names.index(name) + 1 :])


def select_names(names: Sequence[str], only: Sequence[str], kind: str) -> list[str]:
    """The names that contain one of the words. All of them without words. Raises `ValueError` for none.

    `kind` is what the message calls a name.
    """
    chosen = [name for name in names if not only or any(word in name for word in only)]
    if not chosen:
        raise ValueError(f"no {kind} has {' or '.join(only)} in its name; there are: {', '.join(names)}")
    return chosen
