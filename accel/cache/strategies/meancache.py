"""MeanCache: a fixed schedule over sigma, with velocities extrapolated along the slope of their mean.

After UnicomAI/MeanCache (`MeanCache4Qwen-Image/Mc_qwenimage_2512.py`). The original takes the mean velocity after
guidance, from the latents' path over sigma. Here each branch has the mean of its own velocities. Both are equal under
Euler without guidance; ours also holds where a sampler adds noise. Never waits for the device.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from accel.block_runner import BlockRunner
from accel.cache.plan import CachePlan
from accel.cache.strategies.base import PastForward

# The published schedules of 50 steps, by the number of reused steps. Each maps a computed step to a window: the number
# of forwards whose slope is used in the gap after that step. A window of 1 has no slope.
_STEPS = 50
_SCHEDULES: dict[int, dict[int, int]] = {
    25: dict.fromkeys((*range(15), *range(44, 50)), 1) | {15: 2, 23: 2, 31: 2, 37: 1},
    33: dict.fromkeys(range(9), 1) | {9: 2, 11: 1, 19: 1, 27: 1, 35: 1, 43: 5, 47: 5, 49: 1},
    40: {0: 1, 2: 3, 4: 1, 7: 1, 14: 1, 21: 1, 28: 1, 35: 1, 42: 4, 49: 1},
}
# Qwen-Image's scheduler at the published size of 1664 × 928, which has 6032 tokens.
_SHIFT = math.exp(0.5 + (0.9 - 0.5) * (6032 - 256) / (8192 - 256))
_TERMINAL = 0.02


@dataclass(frozen=True, slots=True)
class MeanCache:
    """Reuses the largest published share of steps that is not above the threshold: 0.5, 0.66 or 0.8."""

    threshold: float
    front: int = 0
    back: int = 0
    one_decision_for_cfg: bool = True
    compares_to: Literal["last_computed"] = "last_computed"
    predicts: Literal["output"] = "output"
    history_length: int = 5
    keeps_predictions: bool = True

    def signal(self, runner: BlockRunner) -> torch.Tensor:
        """The latents. They are not compared."""
        return runner.latents

    def score(self, distance: float, accumulated: float, sigma: float) -> float:
        """Below every threshold except 0."""
        return 0.0

    def computed_steps(self, sigmas: Sequence[float]) -> frozenset[int]:
        """The steps whose sigmas are nearest to the published schedule. All steps below the smallest share."""
        return frozenset(self._windows(sigmas))

    def predict(
        self, step: int, signal: torch.Tensor, history: Sequence[PastForward], sigmas: Sequence[float]
    ) -> torch.Tensor:
        """The last velocity plus the slope of the mean velocity times this step's change of sigma."""
        windows = self._windows(sigmas)
        recent = history[-windows[max(computed for computed in windows if computed <= step)] :]
        first, last = recent[0], recent[-1]
        if len(recent) == 1:
            return last.value
        spans = [sigmas[each.step + 1] - sigmas[each.step] for each in recent]
        path = sum((each.value.to(torch.float32) * span for each, span in zip(recent, spans, strict=True)))
        slope = (first.value - path / sum(spans)) / sum(spans)
        return (last.value - slope * (sigmas[step + 1] - sigmas[step])).to(last.value.dtype)

    def _windows(self, sigmas: Sequence[float]) -> dict[int, int]:
        """The window of each computed step."""
        total = len(sigmas) - 1
        shares = [reused for reused in _SCHEDULES if reused / _STEPS <= self.threshold]
        if not shares or not total:
            return dict.fromkeys(range(total), 1)
        windows = {0: 1}
        for published, window in _SCHEDULES[max(shares)].items():
            sigma = _published_sigma(published)
            windows[min(range(total), key=lambda step: abs(sigmas[step] - sigma))] = window
        return windows


def _published_sigma(step: int) -> float:
    def shifted(step: int) -> float:
        time = 1 - step / _STEPS
        return _SHIFT / (_SHIFT + 1 / time - 1)

    return 1 - (1 - shifted(step)) * (1 - _TERMINAL) / (1 - shifted(_STEPS - 1))


def from_plan(plan: CachePlan, steps: int, depth: int) -> MeanCache:
    """The strategy of a plan."""
    return MeanCache(plan.threshold)
