"""EasyCache: estimates the change of the output from the change of the latents, and runs no block for it.

After H-EmbodVis/EasyCache (arXiv 2507.02860, `easycache_generate.py`). Needs no figures of the model: the rate of the
two changes is measured between the last two computed forwards.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from accel.block_runner import BlockRunner
from accel.cache.plan import CachePlan
from accel.cache.strategies.base import PastForward


@dataclass(frozen=True, slots=True)
class EasyCache:
    """Reuses until the estimated changes since the last computed step sum to the threshold.

    The difference of output and latents is reused. The published thresholds are 0.025 and 0.05.
    """

    threshold: float
    front: int = 0
    back: int = 0
    one_decision_for_cfg: bool = True
    compares_to: Literal["last"] = "last"
    predicts: Literal["output"] = "output"
    history_length: int = 2
    keeps_predictions: bool = False

    def signal(self, runner: BlockRunner) -> torch.Tensor:
        """The latents."""
        return runner.latents

    def distance(
        self, signal: torch.Tensor, reference: torch.Tensor, history: Sequence[PastForward]
    ) -> torch.Tensor | None:
        """The estimated change of the output relative to the last computed output. Needs two computed forwards."""
        if len(history) < 2:
            return None
        older, newer = history
        rate = _mean_abs(newer.value - older.value) / _mean_abs(newer.signal - older.signal)
        return rate * _mean_abs(signal - reference) / _mean_abs(newer.value)

    def score(self, distance: float, accumulated: float, sigma: float) -> float:
        """The sum of the estimated changes."""
        return accumulated + distance

    def predict(
        self, step: int, signal: torch.Tensor, history: Sequence[PastForward], sigmas: Sequence[float]
    ) -> torch.Tensor:
        """The latents plus the last computed difference."""
        return signal + (history[-1].value - history[-1].signal)


def _mean_abs(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(torch.float32).abs().mean()


def from_plan(plan: CachePlan, steps: int, depth: int) -> EasyCache:
    """The strategy of a plan."""
    return EasyCache(plan.threshold)
