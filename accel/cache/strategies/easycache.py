"""EasyCache: foretell how much the prediction changes from how much the latents do, and run no block for it.

After H-EmbodVis/EasyCache (arXiv 2507.02860, `easycache_generate.py`). Nothing is fitted to a model beforehand: how
much the prediction changes with the latents is measured between the last two computed forwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from accel.block_runner import BlockRunner
from accel.cache.plan import CachePlan
from accel.cache.strategies.base import Past


@dataclass(frozen=True, slots=True)
class EasyCache:
    """Reuse until the foretold changes since the last computed step add up to the threshold.

    What is reused is the difference of the prediction and the latents. The published thresholds are 0.025 and 0.05.
    """

    threshold: float
    front: int = 0
    back: int = 0
    shared: bool = True
    follows: bool = True
    foretells: Literal["prediction"] = "prediction"
    keeps: int = 2
    chained: bool = False

    def signal(self, runner: BlockRunner) -> torch.Tensor:
        """The latents themselves."""
        return runner.latents

    def change(self, signal: torch.Tensor, last: torch.Tensor, past: Sequence[Past]) -> torch.Tensor | None:
        """The latents' change times the rate of the last two computed forwards, over the last prediction."""
        if len(past) < 2:
            return None
        older, newer = past
        rate = _mean(newer.value - older.value) / _mean(newer.signal - older.signal)
        return rate * _mean(signal - last) / _mean(newer.value)

    def score(self, distance: float, carried: float, sigma: float) -> float:
        """The sum of the foretold changes."""
        return carried + distance

    def predict(self, step: int, signal: torch.Tensor, past: Sequence[Past], sigmas: Sequence[float]) -> torch.Tensor:
        """The latents and the last computed difference."""
        return signal + (past[-1].value - past[-1].signal)


def _mean(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.float32).abs().mean()


def planned(plan: CachePlan, steps: int, depth: int) -> EasyCache:
    """As a plan asks."""
    return EasyCache(plan.threshold)
