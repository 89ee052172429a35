"""DiCache: let the first block say how far along the way of the last two computed steps this one is.

After Bujiazi/DiCache (arXiv 2508.17356, `FLUX/run_flux_dicache.py` with a probe of one block and its error `delta_y`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from accel.block_runner import BlockRunner
from accel.cache.plan import CachePlan
from accel.cache.strategies.base import Past, relative_change

# What the authors let the extrapolation be at least and at most.
_LEAST, _MOST = 1.0, 1.5


@dataclass(frozen=True, slots=True)
class DiCache:
    """Reuse until the changes of the first block's output since the last computed step add up to the threshold.

    The published threshold is 0.4 for FLUX at 30 steps.
    """

    threshold: float
    front: int = 1
    back: int = 0
    shared: bool = False
    follows: bool = True
    foretells: Literal["remainder"] = "remainder"
    keeps: int = 2
    chained: bool = False

    def signal(self, runner: BlockRunner) -> torch.Tensor:
        """The image behind the first block, which is watched, and what that block added: [2, noise tokens, width]."""
        return torch.cat([runner.image[:, : runner.noise_tokens], runner.block_residual()])

    def change(self, signal: torch.Tensor, last: torch.Tensor, past: Sequence[Past]) -> torch.Tensor:
        """The relative change of the image behind the first block."""
        return relative_change(signal[:1], last[:1])

    def score(self, distance: float, carried: float, sigma: float) -> float:
        """The sum of the changes."""
        return carried + distance

    def predict(self, step: int, signal: torch.Tensor, past: Sequence[Past], sigmas: Sequence[float]) -> torch.Tensor:
        """On the line through what all blocks added in the last two computed steps, as far as the first block is."""
        probe, newer = signal[1:], past[-1]
        foretold = newer.signal[1:] + newer.value
        if len(past) > 1:
            older = past[0]
            before = older.signal[1:] + older.value
            foretold = before + _progress(probe, newer.signal[1:], older.signal[1:]) * (foretold - before)
        return foretold - probe  # the first block has been added already


def _progress(probe: torch.Tensor, newer: torch.Tensor, older: torch.Tensor) -> torch.Tensor:
    """The published γ: how far from the older probe this one is, for each unit that the newer is."""
    ratio = (probe - older).to(torch.float32).abs().mean() / (newer - older).to(torch.float32).abs().mean()
    return ratio.nan_to_num(_LEAST).clamp(_LEAST, _MOST).to(probe.dtype)  # not a number where nothing has moved


def planned(plan: CachePlan, steps: int, depth: int) -> DiCache:
    """As a plan asks."""
    return DiCache(plan.threshold)
