"""MeanCache: a fixed schedule on sigma, and the slope of the mean velocity in between. No wait for the device.

After UnicomAI/MeanCache (`MeanCache4Qwen-Image/Mc_qwenimage_2512.py`), which works on the velocity that guidance has
combined, whose mean over some steps is the way of the latents over that of sigma. Here each branch has its own mean,
that of its velocities: the same under Euler without guidance, and right where latents are also moved by something else.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from accel.block_runner import BlockRunner
from accel.cache.plan import CachePlan
from accel.cache.strategies.base import Past

# The published schedules of 50 steps, by how many of them are reused: the computed steps, each with over how many of
# the steps before the slope is taken in the gap behind it; over one, there is none.
_STEPS = 50
_SCHEDULES: dict[int, dict[int, int]] = {
    25: dict.fromkeys((*range(15), *range(44, 50)), 1) | {15: 2, 23: 2, 31: 2, 37: 1},
    33: dict.fromkeys(range(9), 1) | {9: 2, 11: 1, 19: 1, 27: 1, 35: 1, 43: 5, 47: 5, 49: 1},
    40: {0: 1, 2: 3, 4: 1, 7: 1, 14: 1, 21: 1, 28: 1, 35: 1, 42: 4, 49: 1},
}
# Of Qwen-Image's scheduler at the published size of 1664 × 928, which has 6032 tokens.
_SHIFT = math.exp(0.5 + (0.9 - 0.5) * (6032 - 256) / (8192 - 256))
_TERMINAL = 0.02


@dataclass(frozen=True, slots=True)
class MeanCache:
    """Reuse the largest published share of the steps that is not above the threshold: 0.5, 0.66 or 0.8 of them."""

    threshold: float
    front: int = 0
    back: int = 0
    shared: bool = True
    follows: bool = False
    foretells: Literal["prediction"] = "prediction"
    keeps: int = 5
    chained: bool = True

    def signal(self, runner: BlockRunner) -> torch.Tensor:
        """The latents, which are not looked at."""
        return runner.latents

    def score(self, distance: float, carried: float, sigma: float) -> float:
        """Below any threshold but 0."""
        return 0.0

    def computed(self, sigmas: Sequence[float]) -> frozenset[int]:
        """The steps whose sigmas are nearest to those of the published schedule; all, below the least share."""
        return frozenset(self._windows(sigmas))

    def predict(self, step: int, signal: torch.Tensor, past: Sequence[Past], sigmas: Sequence[float]) -> torch.Tensor:
        """The last velocity, moved along the slope of the mean one over this step's part of sigma."""
        windows = self._windows(sigmas)
        recent = past[-windows[max(known for known in windows if known <= step)] :]
        first, last = recent[0], recent[-1]
        if len(recent) == 1:
            return last.value
        spans = [sigmas[each.step + 1] - sigmas[each.step] for each in recent]
        moved = sum((each.value.to(torch.float32) * span for each, span in zip(recent, spans, strict=True)))
        slope = (first.value - moved / sum(spans)) / sum(spans)
        return (last.value - slope * (sigmas[step + 1] - sigmas[step])).to(last.value.dtype)

    def _windows(self, sigmas: Sequence[float]) -> dict[int, int]:
        """By computed step, over how many steps the slope is taken behind it."""
        total = len(sigmas) - 1
        shares = [reused for reused in _SCHEDULES if reused / _STEPS <= self.threshold]
        if not shares or not total:
            return dict.fromkeys(range(total), 1)
        found = {0: 1}
        for published, window in _SCHEDULES[max(shares)].items():
            sigma = _published_sigma(published)
            found[min(range(total), key=lambda step: abs(sigmas[step] - sigma))] = window
        return found


def _published_sigma(step: int) -> float:
    def shifted(step: int) -> float:
        time = 1 - step / _STEPS
        return _SHIFT / (_SHIFT + 1 / time - 1)

    return 1 - (1 - shifted(step)) * (1 - _TERMINAL) / (1 - shifted(_STEPS - 1))


def planned(plan: CachePlan, steps: int, depth: int) -> MeanCache:
    """As a plan asks."""
    return MeanCache(plan.threshold)
