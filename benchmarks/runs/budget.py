"""Runs the rows of a benchmark within a time limit: each row's figures are written before the next row starts.

A run that is cut short still counts. Knows no model and no figure.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pipelines.errors import first_line

Figures = dict[str, Any]


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


def run_rows(rows: Sequence[Row], budget: Budget) -> Iterator[tuple[str, Figures]]:
    """The figures of each row, in order. A row that no longer fits the time is skipped, and says so.

    A row that fails gives its error, so that the rows after it are still measured.
    """
    for row in rows:
        if row.expected_seconds > budget.left:
            yield row.name, {"skipped": f"takes about {row.expected_seconds:.0f} s, and {budget.left:.0f} s are left"}
            continue
        try:
            yield row.name, row.measure()
        except (RuntimeError, ValueError, ImportError, OSError, TypeError, AttributeError) as error:
            yield row.name, {"failed": f"{type(error).__name__}: {first_line(error)}"}


def select_rows(rows: Sequence[Row], only: Sequence[str]) -> list[Row]:
    """The rows whose names contain one of the words. All of them without words. Raises `ValueError` for none."""
    chosen = select_names([row.name for row in rows], only, "row")
    return [row for row in rows if row.name in chosen]


def select_names(names: Sequence[str], only: Sequence[str], kind: str) -> list[str]:
    """The names that contain one of the words. All of them without words. Raises `ValueError` for none.

    `kind` is what the message calls a name.
    """
    chosen = [name for name in names if not only or any(word in name for word in only)]
    if not chosen:
        raise ValueError(f"no {kind} has {' or '.join(only)} in its name; there are: {', '.join(names)}")
    return chosen
