"""Compares new lines of the GPU benchmark with the committed ones of the same card. Knows lines; measures nothing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.gpu.row_groups.encoder_rows import ENCODED, ENCODED_FP8
from benchmarks.gpu.row_groups.loading_rows import LOADED
from benchmarks.gpu.row_groups.task_rows import WAYS
from benchmarks.gpu.switches import FIRST_LENGTH, KNOWN_LENGTH
from benchmarks.gpu.waterfall import Line

TOLERANCE = 0.05  # as much as two runs of a card under one power limit differ
# Milliseconds of a call, and what files and the host's threads take, vary by more than that.
UNSTEADY = {FIRST_LENGTH, KNOWN_LENGTH, ENCODED, ENCODED_FP8, LOADED, *WAYS}


class NothingToCompare(Exception):
    """No committed line is of the card and of a row that was measured now."""


@dataclass(frozen=True, slots=True)
class Change:
    """A row's seconds a step, or seconds where it has no steps, in the committed line and now.

    A row that failed now has no seconds, but a `failure`.
    """

    row: str
    before: float
    now: float = math.inf
    failure: str = ""

    @property
    def ratio(self) -> float:
        """Now over before: above 1 is slower."""
        return self.now / self.before

    @property
    def lost(self) -> bool:
        """Whether the row failed, or is slower by more than the tolerance."""
        return self.ratio > 1 + TOLERANCE

    def __str__(self) -> str:
        now = f"failed: {self.failure}" if self.failure else f"{self.now:.4g} s ({self.ratio - 1:+.1%})"
        return f"{self.row}: {self.before:.4g} s, now {now}"


def compare_lines(committed: Sequence[Line], new: Sequence[Line]) -> list[Change]:
    """The change of each row that both have, for the same card. Raises `NothingToCompare`."""
    before = {(line["card"], line["row"]): seconds for line in committed if (seconds := _seconds(line))}
    changes = []
    for line in new:
        key = line["card"], line["row"]
        if key in before and "failed" in line:
            changes.append(Change(line["row"], before[key], failure=line["failed"]))
        elif key in before and (seconds := _seconds(line)):
            changes.append(Change(line["row"], before[key], seconds))
    if not changes:
        cards = ", ".join(sorted({line["card"] for line in new})) or "any card"
        raise NothingToCompare(f"there is no committed line of {cards} to compare with")
    return changes


def _seconds(line: Line) -> float | None:
    if line["row"] in UNSTEADY:
        return None
    return line.get("seconds_per_step") or line.get("seconds")
