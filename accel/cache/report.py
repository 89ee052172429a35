"""The report of a step cache on one image: every decision with its distance, and the saving.

Plain data; knows no tensor and imports no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import ConfigDict, Field

from accel.cache.gate import GateReason
from accel.cache.plan import CacheName

Branch = Literal["cond", "uncond"]
Reason = Literal[GateReason, "no_memory", "controls", "shape", "not_finite", "threshold", "reuse"]

COMPUTED, REUSED = "C", "R"


@dataclass(frozen=True, slots=True)
class Decision:
    """The decision on one forward of a step.

    `evaluation` counts the forwards of a branch within a step; most samplers need one. `distance` is that of the
    strategy's signal, None where no earlier signal was compared. `score` was compared with the threshold, None where no
    comparison was needed. `reason` is "reuse" for a reused forward, else why it was computed.
    """

    step: int
    evaluation: int
    branch: Branch
    reason: Reason
    distance: float | None = None
    score: float | None = None

    @property
    def reused(self) -> bool:
        """Whether the forward was reused."""
        return self.reason == "reuse"


@dataclass(frozen=True, slots=True)
class CacheReport:
    """All decisions of one image in order, the number of blocks run and skipped, and the seconds of all forwards."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(serialize_by_alias=True)

    strategy: CacheName
    decisions: tuple[Decision, ...]
    blocks_run: int
    blocks_skipped: Annotated[int, Field(alias="blocks_left_out")]  # the key in stored reports
    seconds: float

    @property
    def steps(self) -> int:
        """The number of executed steps."""
        return len({decision.step for decision in self.decisions})

    @property
    def reused_steps(self) -> int:
        """The number of steps in which every forward was reused."""
        return reused_steps(self.decisions)

    @property
    def reused_forwards(self) -> int:
        """The number of reused forwards, out of `len(decisions)`."""
        return sum(decision.reused for decision in self.decisions)

    @property
    def seconds_saved(self) -> float:
        """The estimated time of the skipped blocks, at the mean speed of the blocks that were run.

        Single forwards are not timed, because a device may still be busy when a forward returns.
        """
        return self.seconds * self.blocks_skipped / self.blocks_run if self.blocks_run else 0.0

    @property
    def patterns(self) -> dict[str, str]:
        """One letter for each forward of a branch: "C" computed, "R" reused."""
        letters: dict[str, str] = {}
        for decision in self.decisions:
            letters[decision.branch] = letters.get(decision.branch, "") + (REUSED if decision.reused else COMPUTED)
        return letters


def reused_steps(decisions: Sequence[Decision]) -> int:
    """The number of steps in which every forward was reused."""
    computed = {decision.step for decision in decisions if not decision.reused}
    return len({decision.step for decision in decisions} - computed)
