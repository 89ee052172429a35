"""The cards that are emulated, what is planned for each, and what its figures mean for a slower card.

Pure arithmetic; knows no device.
"""

from dataclasses import dataclass
from typing import Literal

from pipelines.models.plan import WeightsPlan
from pipelines.models.planning.cards import GIB, Host, make_card
from pipelines.models.planning.planner import Planner, Wishes
from pipelines.models.planning.sizes import QWEN_IMAGE
from pipelines.models.planning.workload import Workload

HOST = Host(128 * GIB)
_WHOLE_GIB = 80
Precision = Literal["bf16", "fp8", "int8", "nf4"]
# Of CUDA itself, outside of what torch allocates and limits.
CONTEXT_BYTES = GIB
# An RTX 4090: seconds of a guided step at 1024², and bytes a second from pinned memory over PCIe 4 (see `planning`).
STEP_SECONDS = 1.0
LINK = 25e9


@dataclass(frozen=True, slots=True)
class Case:
    """A render on an emulated card of `gib`, or on the whole card if that is None."""

    precision: Precision
    gib: int | None
    references: int = 0

    @property
    def name(self) -> str:
        """The name of its row."""
        work = f"edit, {self.references} reference" if self.references else "text to image"
        card = "resident" if self.gib is None else f"{self.gib} GB"
        return f"{self.precision}, {card}, {work}"


def plan(case: Case, side: int) -> WeightsPlan:
    """The plan of the 20B model for an emulated card. Raises `PlanError` where it does not fit."""
    card = make_card("RTX 4090", (case.gib or _WHOLE_GIB) * GIB, None)
    workload = Workload(side, side, case.references)
    return Planner(QWEN_IMAGE, card, HOST, workload, Wishes(precision=case.precision)).plan()


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Seconds of a step: with resident weights, and streamed. `link` is bytes a second that were measured."""

    resident: float
    streamed: float
    streamed_bytes: float
    link: float

    @property
    def ratio(self) -> float:
        """Streamed over resident, on the card that was measured."""
        return self.streamed / self.resident

    def ratio_on_slower_card(self, compute: float, link: float) -> float:
        """The ratio where a resident step takes `compute` seconds, and `link` bytes a second are copied.

        What is lost beyond the longer of copying and computing stays the same.
        """
        lost = max(0.0, self.streamed - max(self.resident, self.streamed_bytes / self.link))
        return (max(compute, self.streamed_bytes / link) + lost) / compute
