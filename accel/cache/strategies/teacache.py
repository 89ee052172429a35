"""TeaCache: watch the first block's modulated input, which costs no block at all (ali-vilab/TeaCache).

It depends on the latents and the time but not on the prompt, and says little by itself: a profile that was fitted to
the model rescales its changes to those of the output.
"""

from dataclasses import dataclass

import torch

from accel.block_runner import BlockRunner
from accel.cache.curves import Curve
from accel.cache.plan import CachePlan
from accel.cache.profile import load_profile


@dataclass(frozen=True, slots=True)
class TeaCache:
    """Reuse until the rescaled changes since the last computed step add up to the threshold."""

    threshold: float
    curve: Curve
    front: int = 0
    back: int = 0
    shared: bool = True
    follows: bool = True

    def signal(self, runner: BlockRunner) -> torch.Tensor:
        """The modulated input."""
        return runner.modulated_input()

    def score(self, distance: float, carried: float, sigma: float) -> float:
        """The sum of the rescaled changes."""
        return carried + self.curve.rescaled(distance, sigma)


def planned(plan: CachePlan, steps: int, depth: int) -> TeaCache:
    """As a plan asks: with its own curve, else the one of its profile that was fitted at about as many steps."""
    if plan.curve is not None:
        return TeaCache(plan.threshold, plan.curve)
    if plan.profile is None:
        raise ValueError("TeaCache needs a curve or a profile")
    return TeaCache(plan.threshold, load_profile(plan.profile).fit(steps).curve)
