"""DBCache: watches what the first blocks add, as cache-dit 1.5 does (`cache_blocks/pattern_base.py`, F8B0).

More front blocks make a reused step more accurate and more expensive.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from accel.block_runner import BlockRunner
from accel.cache.plan import CachePlan
from accel.cache.strategies.base import PastForward

# cache-dit's default is 8 blocks of Qwen-Image's 60. A transformer of fewer blocks gets the same share.
_FRONT_SHARE = 8 / 60
# The largest gap between the two computed steps of an extrapolation. Larger gaps were not seen to help.
_MAX_GAP = 2


@dataclass(frozen=True, slots=True)
class DBCache:
    """Reuses while the residual of the first `front` blocks is close to that of the last computed step.

    `front` and `back` are Fn and Bn of cache-dit. With a `history_length` of 2 instead of 1, the first reused residual
    of a run is extrapolated.
    """

    threshold: float
    front: int
    back: int = 0
    one_decision_for_cfg: bool = False
    compares_to: Literal["last_computed"] = "last_computed"
    predicts: Literal["residual"] = "residual"
    history_length: int = 1
    keeps_predictions: bool = False

    def signal(self, runner: BlockRunner) -> torch.Tensor:
        """The residual of the front blocks."""
        return runner.block_residual()

    def score(self, distance: float, accumulated: float, sigma: float) -> float:
        """The distance itself. It includes all drift since the last computed step."""
        return distance

    def predict(
        self, step: int, signal: torch.Tensor, history: Sequence[PastForward], sigmas: Sequence[float]
    ) -> torch.Tensor:
        """The last residual, or its linear extrapolation over the step number.

        Extrapolates only in the step after a computed one, from two computed steps at most `_MAX_GAP` apart. Further
        away, the line leaves what would be computed.
        """
        newer, older = history[-1], history[0]
        gap = newer.step - older.step
        if step - newer.step != 1 or not 0 < gap <= _MAX_GAP:
            return newer.value
        return newer.value + (newer.value - older.value) / gap


def from_plan(plan: CachePlan, steps: int, depth: int) -> DBCache:
    """The strategy of a plan, for a transformer of `depth` blocks."""
    front = max(1, round(_FRONT_SHARE * depth))
    return DBCache(plan.threshold, front=front, history_length=2 if plan.extrapolate else 1)
