"""DBCache: watch what the first few blocks add, as cache-dit 1.5 does (`cache_blocks/pattern_base.py`, F8B0).

The more blocks run before the decision, the more of each reused step is fresh, and the more it costs.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from accel.block_runner import BlockRunner
from accel.cache.plan import CachePlan
from accel.cache.strategies.base import Past

# cache-dit's default of 8 blocks, of the 60 that Qwen-Image has; a shallower transformer gets the same share.
_SHARE = 8 / 60
# Between the two computed steps that an extrapolation starts from, as far as it was seen to help.
_WIDEST_GAP = 2


@dataclass(frozen=True, slots=True)
class DBCache:
    """Reuse while the change that `front` blocks make to the image differs little from that of the last computed step.

    `front` and `back` are Fn and Bn of cache-dit. With two forwards kept instead of one, the first reused remainder of
    a run moves on as it did between them.
    """

    threshold: float
    front: int
    back: int = 0
    shared: bool = False
    follows: bool = False
    foretells: Literal["remainder"] = "remainder"
    keeps: int = 1
    chained: bool = False

    def signal(self, runner: BlockRunner) -> torch.Tensor:
        """What the front blocks have added."""
        return runner.block_residual()

    def score(self, distance: float, carried: float, sigma: float) -> float:
        """The distance itself: drift adds up by itself, because only a computed step moves the reference."""
        return distance

    def predict(self, step: int, signal: torch.Tensor, past: Sequence[Past], sigmas: Sequence[float]) -> torch.Tensor:
        """The last remainder, or one extrapolated to the first order in the step.

        Only for a step right behind a computed one, and from two that are next or next but one to each other: further
        on, the line leads away from what would be computed.
        """
        newer, older = past[-1], past[0]
        gap = newer.step - older.step
        if step - newer.step != 1 or not 0 < gap <= _WIDEST_GAP:
            return newer.value
        return newer.value + (newer.value - older.value) / gap


def planned(plan: CachePlan, steps: int, depth: int) -> DBCache:
    """As a plan asks, for a transformer of `depth` blocks."""
    return DBCache(plan.threshold, front=max(1, round(_SHARE * depth)), keeps=2 if plan.extrapolate else 1)
