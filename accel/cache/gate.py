"""The steps in which reuse is allowed, whatever a strategy measures. Pure rules on step numbers: no torch."""

from dataclasses import dataclass
from typing import Literal

GateReason = Literal["first", "last", "window", "timetable", "run_cap"]


@dataclass(frozen=True, slots=True)
class Gate:
    """Reuse is allowed in the steps `start` ≤ step < `end` of `total`, at most `max_run` times in a row.

    The `computed_steps` are always computed. So are the first and the last step. In the first one the cache is empty.
    After the last one an error could not be corrected.
    """

    total: int
    start: int
    end: int
    max_run: int
    computed_steps: frozenset[int] = frozenset()

    def reason_to_compute(self, step: int, run: int) -> GateReason | None:
        """Why a step, counted from 0, must be computed after `run` reused ones. None where it may be reused."""
        if step == 0:
            return "first"
        if step >= self.total - 1:
            return "last"
        if not self.start <= step < self.end:
            return "window"
        if step in self.computed_steps:
            return "timetable"
        if run >= self.max_run:
            return "run_cap"
        return None
