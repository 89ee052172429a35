"""A step cache that computes every other step: an example of a strategy.

CONTRIBUTING.md says where a copy of this file belongs. Change the policy in the copy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from accel.block_runner import BlockRunner
from accel.cache.plan import CachePlan


@dataclass(frozen=True, slots=True)
class Alternate:
    """Computes the steps 0, 2, 4, … and reuses the others, whatever the picture."""

    threshold: float
    front: int = 0
    back: int = 0
    one_decision_for_cfg: bool = True
    compares_to: Literal["last_computed"] = "last_computed"

    def signal(self, runner: BlockRunner) -> torch.Tensor:
        """The latents. They are not compared."""
        return runner.latents

    def computed_steps(self, sigmas: Sequence[float]) -> frozenset[int]:
        """This method makes it a `FixedSchedule`, for which no distance is measured."""
        return frozenset(range(0, len(sigmas) - 1, 2))

    def score(self, distance: float, accumulated: float, sigma: float) -> float:
        """Below every threshold except 0."""
        return 0.0


def from_plan(plan: CachePlan, steps: int, depth: int) -> Alternate:
    """The strategy of a plan."""
    return Alternate(plan.threshold)
