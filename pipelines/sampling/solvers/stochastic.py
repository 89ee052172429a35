"""Solvers that add fresh noise as they go; the multistep SDE forms are in `exponential.py`.

They end on the same distribution as the flow, along another path for each seed.
"""

import math
from collections.abc import Callable

import torch

from pipelines.sampling.solvers.base import Noise, Velocity, half_log_snr, stochastic_step, with_data
from pipelines.sampling.solvers.singlestep import Move

TCD_GAMMA = 0.3  # Zheng et al. 2024, section 4.2, and the default of diffusers' TCDScheduler

Floor = Callable[[float, float], float]


class Ancestral:
    """Goes further down than asked, to the sigma that `floor` says, and adds noise to come back up.

    On a rectified flow the data has to be scaled to 1 − σ on the way up, too.
    """

    def __init__(self, move: Move, floor: Floor, noise: Noise) -> None:
        self._move, self._floor, self._noise = move, floor, noise

    def step(
        self, velocity: Velocity, sample: torch.Tensor, sigma: torch.Tensor, following: torch.Tensor
    ) -> torch.Tensor:
        """One step, computed in float32."""
        end = float(following)
        low = self._floor(float(sigma), end)
        moved = self._move(velocity, sample, sigma, sigma.new_tensor(low))
        if end > 0.0:
            scale = (1 - end) / (1 - low)
            moved = scale * moved + math.sqrt(end**2 - (scale * low) ** 2) * self._noise(moved)
        return moved.to(sample.dtype)


def ancestral(start: float, end: float) -> float:
    """As diffusers' LTXEulerAncestralRFScheduler with eta 1."""
    return end * (end / start)


def consistency(start: float, end: float) -> float:
    """All the way down, as diffusers' FlowMatchLCMScheduler: for models distilled to predict the data at once."""
    return 0.0


def trajectory_consistency(start: float, end: float) -> float:
    """TCD's strategic stochastic sampling: a fixed part of the way."""
    return (1 - TCD_GAMMA) * end


class DpmSde:
    """DPM-Solver++ SDE of second order with two forwards (k-diffusion's `dpmpp_sde`, r = 1/2, eta = 1).

    The noise up to the midpoint is part of the whole step's, so that both lie on one path of the diffusion.
    """

    def __init__(self, noise: Noise) -> None:
        self._noise = noise

    def step(
        self, velocity: Velocity, sample: torch.Tensor, sigma: torch.Tensor, following: torch.Tensor
    ) -> torch.Tensor:
        """One step, computed in float32."""
        start, end, dtype = float(sigma), float(following), sample.dtype
        sample, data = with_data(velocity, sample, sigma)
        if end == 0.0:
            return data.to(dtype)
        middle = _midpoint(start, end)
        noise = self._noise(sample)
        halfway = stochastic_step(sample, data, start, middle, noise)
        _, data = with_data(velocity, halfway.to(dtype), sigma.new_tensor(middle))
        # The noise of a step is what is left of its first half's plus its second half's, at unit variance.
        first, second = (half_log_snr(middle) - half_log_snr(start)), (half_log_snr(end) - half_log_snr(middle))
        kept = math.exp(-second) * math.sqrt(-math.expm1(-2 * first))
        fresh = math.sqrt(-math.expm1(-2 * second))
        noise = (kept * noise + fresh * self._noise(sample)) / math.hypot(kept, fresh)
        return stochastic_step(sample, data, start, end, noise).to(dtype)


def _midpoint(start: float, end: float) -> float:
    """Halfway in log-SNR; from pure noise, where that is infinite, halfway in sigma."""
    if start >= 1.0:
        return (start + end) / 2
    return 1 / (1 + math.exp((half_log_snr(start) + half_log_snr(end)) / 2))
