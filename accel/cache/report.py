"""What a step cache did to one image: each decision with its distance, and what it saved.

Plain data; knows no tensor and imports no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from accel.cache.gate import Barred
from accel.cache.plan import CacheName

Branch = Literal["cond", "uncond"]
Reason = Literal[Barred, "no_memory", "controls", "shape", "not_finite", "threshold", "reuse"]

COMPUTED, REUSED = "C", "R"


@dataclass(frozen=True, slots=True)
class Decision:
    """What became of one forward of a step, and why.

    `evaluation` counts the forwards of a branch within a step, of which most samplers need one. `distance` is how far
    the strategy's signal has moved, None where there was nothing to compare it with; `score` is what was held against
    the threshold, None where that was not asked. `reason` is "reuse" for a reused forward, else why it was computed.
    """

    step: int
    evaluation: int
    branch: Branch
    reason: Reason
    distance: float | None = None
    score: float | None = None

    @property
    def reused(self) -> bool:
        """Whether the cached remainder stood in for the transformer's blocks."""
        return self.reason == "reuse"


@dataclass(frozen=True, slots=True)
class CacheReport:
    """All decisions of one image in their order, the transformer blocks run and left out, and the forwards' seconds."""

    strategy: CacheName
    decisions: tuple[Decision, ...]
    blocks_run: int
    blocks_left_out: int
    seconds: float

    @property
    def steps(self) -> int:
        """How many steps were executed."""
        return len({decision.step for decision in self.decisions})

    @property
    def reused_steps(self) -> int:
        """How many steps had none of their forwards computed."""
        return reused_steps(self.decisions)

    @property
    def reused_forwards(self) -> int:
        """How many forwards were reused, of `len(decisions)`."""
        return sum(decision.reused for decision in self.decisions)

    @property
    def seconds_saved(self) -> float:
        """An estimate: what the blocks that were left out would have taken at the pace of those that were run.

        Of the whole forwards and not of single ones, because a device may still be at work when a forward returns.
        """
        return self.seconds * self.blocks_left_out / self.blocks_run if self.blocks_run else 0.0

    @property
    def patterns(self) -> dict[str, str]:
        """One letter a forward for each branch, "C" computed or "R" reused."""
        letters: dict[str, str] = {}
        for decision in self.decisions:
            letters[decision.branch] = letters.get(decision.branch, "") + (REUSED if decision.reused else COMPUTED)
        return letters


def reused_steps(decisions: Sequence[Decision]) -> int:
    """How many steps had none of their forwards computed."""
    computed = {decision.step for decision in decisions if not decision.reused}
    return len({decision.step for decision in decisions} - computed)
