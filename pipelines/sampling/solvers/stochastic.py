"""Solvers that add fresh noise at each step. The multistep SDE forms are in `exponential.py`.

They end on the same distribution as the flow, along another path for each seed.
"""

import math
from collections.abc import Callable

import torch

from pipelines.sampling.sigmas import Sigma
from pipelines.sampling.solvers.base import Noise, Velocity, half_log_snr, predict_x0, sde_first_order_update
from pipelines.sampling.solvers.singlestep import Update

TCD_GAMMA = 0.3  # Zheng et al. 2024, section 4.2, and the default of diffusers' TCDScheduler

SigmaDown = Callable[[float, float], float]  # of sigma and sigma_next


class Ancestral:
    """Ancestral steps: solve down to `sigma_down`, then add noise up to `sigma_next`.

    On a rectified flow, x0 also has to be scaled to 1 − σ on the way up.
    """

    def __init__(self, update: Update, sigma_down: SigmaDown, noise: Noise) -> None:
        self._update, self._sigma_down, self._noise = update, sigma_down, noise

    def step(self, velocity: Velocity, sample: torch.Tensor, sigma: Sigma, sigma_next: Sigma) -> torch.Tensor:
        """Take one step, computed in float32."""
        end = sigma_next.number
        down = self._sigma_down(sigma.number, end)
        sample_next = self._update(velocity, sample, sigma, sigma.at(down))
        if end > 0.0:
            scale = (1 - end) / (1 - down)
            sigma_up = math.sqrt(end**2 - (scale * down) ** 2)
            sample_next = scale * sample_next + sigma_up * self._noise(sample_next)
        return sample_next.to(sample.dtype)


def ancestral_sigma_down(sigma: float, sigma_next: float) -> float:
    """Return sigma_down of diffusers' LTXEulerAncestralRFScheduler with eta 1."""
    return sigma_next * (sigma_next / sigma)


def lcm_sigma_down(sigma: float, sigma_next: float) -> float:
    """Return zero, as diffusers' FlowMatchLCMScheduler does: for models distilled to predict x0 in one step."""
    return 0.0


def tcd_sigma_down(sigma: float, sigma_next: float) -> float:
    """Return a fixed share of the next sigma: TCD's strategic stochastic sampling."""
    return (1 - TCD_GAMMA) * sigma_next


class DpmSde:
    """DPM-Solver++ SDE of second order with two forwards (k-diffusion's `dpmpp_sde`, r = 1/2, eta = 1).

    The noise up to the midpoint is part of the noise of the whole step, so both lie on one path of the diffusion.
    """

    def __init__(self, noise: Noise) -> None:
        self._noise = noise

    def step(self, velocity: Velocity, sample: torch.Tensor, sigma: Sigma, sigma_next: Sigma) -> torch.Tensor:
        """Take one step, computed in float32."""
        start, end, dtype = sigma.number, sigma_next.number, sample.dtype
        sample, x0 = predict_x0(velocity, sample, sigma)
        if end == 0.0:
            return x0.to(dtype)
        mid = _midpoint(start, end)
        noise = self._noise(sample)
        sample_mid = sde_first_order_update(sample, x0, start, mid, noise)
        _, x0 = predict_x0(velocity, sample_mid.to(dtype), sigma.at(mid))
        # The noise of a step is the decayed noise of its first half plus that of its second, at unit variance.
        first, second = (half_log_snr(mid) - half_log_snr(start)), (half_log_snr(end) - half_log_snr(mid))
        kept = math.exp(-second) * math.sqrt(-math.expm1(-2 * first))
        fresh = math.sqrt(-math.expm1(-2 * second))
        noise = (kept * noise + fresh * self._noise(sample)) / math.hypot(kept, fresh)
        return sde_first_order_update(sample, x0, start, end, noise).to(dtype)


def _midpoint(sigma: float, sigma_next: float) -> float:
    """The midpoint in log-SNR; from pure noise, where that is infinite, the midpoint in sigma."""
    if sigma >= 1.0:
        return (sigma + sigma_next) / 2
    return 1 / (1 + math.exp((half_log_snr(sigma) + half_log_snr(sigma_next)) / 2))
