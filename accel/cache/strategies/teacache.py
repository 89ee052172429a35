"""TeaCache: watches the first block's modulated input, which costs no block (ali-vilab/TeaCache).

The modulated input depends on the latents and the timestep but not on the prompt. A curve that was fitted to the model
rescales its changes to those of the residual.
"""

from dataclasses import dataclass
from typing import Literal

import torch

from accel.block_runner import BlockRunner
from accel.cache.curves import Curve
from accel.cache.plan import CachePlan
from accel.cache.profile import load_profile


@dataclass(frozen=True, slots=True)
class TeaCache:
    """Reuses until the rescaled changes since the last computed step sum to the threshold."""

    threshold: float
    curve: Curve
    front: int = 0
    back: int = 0
    one_decision_for_cfg: bool = True
    compares_to: Literal["last"] = "last"

    def signal(self, runner: BlockRunner) -> torch.Tensor:
        """The modulated input."""
        return runner.modulated_input()

    def score(self, distance: float, accumulated: float, sigma: float) -> float:
        """The sum of the rescaled changes."""
        return accumulated + self.curve.rescale(distance, sigma)


def from_plan(plan: CachePlan, steps: int, depth: int) -> TeaCache:
    """The strategy of a plan, with the plan's curve or else the profile's curve for the nearest number of steps.

    Raises `ValueError` when the plan has neither.
    """
    if plan.curve is not None:
        return TeaCache(plan.threshold, plan.curve)
    if plan.profile is None:
        raise ValueError("TeaCache needs a curve or a profile")
    return TeaCache(plan.threshold, load_profile(plan.profile).nearest_fit(steps).curve)
