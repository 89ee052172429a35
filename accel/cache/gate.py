"""When reuse is allowed at all, whatever a strategy measures. Pure rules on step numbers: no torch."""

from dataclasses import dataclass
from typing import Literal

Barred = Literal["first", "last", "window", "timetable", "run_cap"]


@dataclass(frozen=True, slots=True)
class Gate:
    """Reuse is allowed in the steps `start` ≤ step < `end` of `total`, at most `max_run` times in a row.

    The `computed` steps are always computed, and so are the first and the last one: nothing is there to reuse in the
    one, and nothing comes after the other to mend what reuse has spoilt.
    """

    total: int
    start: int
    end: int
    max_run: int
    computed: frozenset[int] = frozenset()

    def bars(self, step: int, run: int) -> Barred | None:
        """Why a step, counted from 0, must be computed when the last `run` were reused; None when it need not."""
        if step == 0:
            return "first"
        if step >= self.total - 1:
            return "last"
        if not self.start <= step < self.end:
            return "window"
        if step in self.computed:
            return "timetable"
        if run >= self.max_run:
            return "run_cap"
        return None
