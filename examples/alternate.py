"""A step cache that computes every other step: an example of a strategy.

CONTRIBUTING.md says where a copy of this file belongs. Change the policy in the copy.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from accel.block_runner import Walk
from accel.cache.plan import CachePlan


@dataclass(frozen=True, slots=True)
class Alternate:
    """Compute the steps 0, 2, 4, … and reuse the others, whatever the picture."""

    threshold: float
    front: int = 0
    back: int = 0
    shared: bool = True
    follows: bool = False

    def signal(self, walk: Walk) -> torch.Tensor:
        """The latents. Nothing is compared with them."""
        return walk.own

    def computed(self, sigmas: Sequence[float]) -> frozenset[int]:
        """The steps that are computed. A strategy with this method measures no distance."""
        return frozenset(range(0, len(sigmas) - 1, 2))

    def score(self, distance: float, carried: float, sigma: float) -> float:
        """Below every threshold except 0."""
        return 0.0


def planned(plan: CachePlan, steps: int, depth: int) -> Alternate:
    """The strategy of a plan."""
    return Alternate(plan.threshold)
