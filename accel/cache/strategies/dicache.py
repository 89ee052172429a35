"""DiCache: probes the first block to extrapolate the residual through the last two computed steps.

After Bujiazi/DiCache (arXiv 2508.17356, `FLUX/run_flux_dicache.py` with a probe of one block and its error `delta_y`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from accel.block_runner import BlockRunner
from accel.cache.plan import CachePlan
from accel.cache.strategies.base import PastForward, relative_l1

# The published limits of γ.
_MIN_GAMMA, _MAX_GAMMA = 1.0, 1.5


@dataclass(frozen=True, slots=True)
class DiCache:
    """Reuses until the changes of the first block's output since the last computed step sum to the threshold.

    The published threshold is 0.4 for FLUX at 30 steps.
    """

    threshold: float
    front: int = 1
    back: int = 0
    one_decision_for_cfg: bool = False
    compares_to: Literal["last"] = "last"
    predicts: Literal["residual"] = "residual"
    history_length: int = 2
    keeps_predictions: bool = False

    def signal(self, runner: BlockRunner) -> torch.Tensor:
        """The image after the first block, then the first block's residual: [2, noise tokens, width]."""
        return torch.cat([runner.image[:, : runner.noise_tokens], runner.block_residual()])

    def distance(
        self, signal: torch.Tensor, reference: torch.Tensor, history: Sequence[PastForward]
    ) -> torch.Tensor | None:
        """The relative change of the image after the first block."""
        return relative_l1(signal[:1], reference[:1])

    def score(self, distance: float, accumulated: float, sigma: float) -> float:
        """The sum of the changes."""
        return accumulated + distance

    def predict(
        self, step: int, signal: torch.Tensor, history: Sequence[PastForward], sigmas: Sequence[float]
    ) -> torch.Tensor:
        """A point on the line through the residuals of all blocks in the last two computed steps, at γ."""
        probe, newer = signal[1:], history[-1]
        residual = newer.signal[1:] + newer.value
        if len(history) > 1:
            older = history[0]
            older_residual = older.signal[1:] + older.value
            gamma = _gamma(probe, newer.signal[1:], older.signal[1:])
            residual = older_residual + gamma * (residual - older_residual)
        return residual - probe  # the image already contains the first block's part


def _gamma(probe: torch.Tensor, newer: torch.Tensor, older: torch.Tensor) -> torch.Tensor:
    """The published γ: the probe's distance from the older one, over the newer one's."""
    ratio = (probe - older).to(torch.float32).abs().mean() / (newer - older).to(torch.float32).abs().mean()
    return ratio.nan_to_num(_MIN_GAMMA).clamp(_MIN_GAMMA, _MAX_GAMMA).to(probe.dtype)  # 0 / 0 where nothing moved


def from_plan(plan: CachePlan, steps: int, depth: int) -> DiCache:
    """The strategy of a plan."""
    return DiCache(plan.threshold)
