"""DBCache: watch what the first few blocks add, as cache-dit 1.5 does (`cache_blocks/pattern_base.py`, F8B0).

The more blocks run before the decision, the more of each reused step is fresh, and the more it costs.
"""

from dataclasses import dataclass

import torch

from accel.adapter import Walk
from accel.plan import CachePlan

# cache-dit's default of 8 blocks, of the 60 that Qwen-Image has; a shallower transformer gets the same share.
_SHARE = 8 / 60


@dataclass(frozen=True, slots=True)
class DBCache:
    """Reuse while the change that `front` blocks make to the image differs little from that of the last computed step.

    `front` and `back` are Fn and Bn of cache-dit.
    """

    threshold: float
    front: int
    back: int = 0
    shared: bool = False
    follows: bool = False

    def signal(self, walk: Walk) -> torch.Tensor:
        """What the front blocks have added."""
        return walk.moved()

    def score(self, distance: float, carried: float, sigma: float) -> float:
        """The distance itself: drift adds up by itself, because only a computed step moves the reference."""
        return distance


def planned(plan: CachePlan, steps: int, depth: int) -> DBCache:
    """As a plan asks, for a transformer of `depth` blocks."""
    return DBCache(plan.threshold, front=max(1, round(_SHARE * depth)))
