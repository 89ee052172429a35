"""Compares new lines of the GPU benchmark with the committed ones of the same card. Knows lines; measures nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.gpu.switches import FIRST_LENGTH, KNOWN_LENGTH
from benchmarks.gpu.waterfall import Line

TOLERANCE = 0.05  # as much as two runs of a card under one power limit differ


class NothingToCompare(Exception):
    """No committed line is of the card and of a row that was measured now."""


@dataclass(frozen=True, slots=True)
class Change:
    """A row's seconds a step, or seconds where it has no steps, in the committed line and now."""

    row: str
    before: float
    now: float

    @property
    def ratio(self) -> float:
        """Now over before: above 1 is slower."""
        return self.now / self.before

    @property
    def lost(self) -> bool:
        """Whether the row is slower by more than the tolerance."""
        return self.ratio > 1 + TOLERANCE

    def __str__(self) -> str:
        return f"{self.row}: {self.before:.4g} s, now {self.now:.4g} s ({self.ratio - 1:+.1%})"


def compare_lines(committed: Sequence[Line], new: Sequence[Line]) -> list[Change]:
    """The change of each row that both have, for the same card. Raises `NothingToCompare`."""
    before = {(line["card"], line["row"]): seconds for line in committed if (seconds := _seconds(line))}
    changes = [
        Change(line["row"], before[key], seconds)
        for line in new
        if (seconds := _seconds(line)) and (key := (line["card"], line["row"])) in before
    ]
    if not changes:
        cards = ", ".join(sorted({line["card"] for line in new})) or "any card"
        raise NothingToCompare(f"there is no committed line of {cards} to compare with")
    return changes


def _seconds(line: Line) -> float | None:
    if line["row"] in (FIRST_LENGTH, KNOWN_LENGTH):  # one call of milliseconds varies by more than the tolerance
        return None
    return line.get("seconds_per_step") or line.get("seconds")
