"""The flow sampler: on which sigmas a picture is denoised, and how one step is integrated.

A schedule is data and an integrator is the memory of one request; both are made for a request and die with it. Knows
no model: it is given velocities.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import torch

from pipelines.request import Sampler, Spacing

KARRAS_RHO = 7.0  # Karras et al. 2022, the value used in the paper


Velocity = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # of a sample at a sigma


class Integrator(Protocol):
    """Moves a sample from sigma to the next sigma along a predicted velocity."""

    def step(
        self, velocity: Velocity, sample: torch.Tensor, sigma: torch.Tensor, following: torch.Tensor
    ) -> torch.Tensor:
        """Sample and velocity [B, tokens, channels], sigmas 0-dimensional float32; returns the sample's dtype."""
        ...


class Euler:
    """First order, no memory; equals diffusers' FlowMatchEulerDiscreteScheduler bit for bit."""

    def step(
        self, velocity: Velocity, sample: torch.Tensor, sigma: torch.Tensor, following: torch.Tensor
    ) -> torch.Tensor:
        """One Euler step, summed in float32."""
        moved = sample.to(torch.float32) + (following - sigma) * velocity(sample, sigma)
        return moved.to(sample.dtype)


class DpmSolver2M:
    """DPM-Solver++ (2M): second order from the previous step's prediction (Lu et al. 2022, algorithm 2).

    On a rectified flow the data prediction is x − σv and the half log-SNR is λ = ln((1 − σ) / σ). The first step, and
    the last one, on which λ is infinite, are first order.
    """

    def __init__(self) -> None:
        self._previous: tuple[torch.Tensor, float] | None = None

    def step(
        self, velocity: Velocity, sample: torch.Tensor, sigma: torch.Tensor, following: torch.Tensor
    ) -> torch.Tensor:
        """One step, computed in float32."""
        start, end = float(sigma), float(following)
        dtype, slope = sample.dtype, velocity(sample, sigma).to(torch.float32)
        sample = sample.to(torch.float32)
        data = sample - start * slope
        step = _half_log_snr(end) - _half_log_snr(start)
        target = data
        if self._previous is not None and math.isfinite(step):
            before, last_step = self._previous
            target = data + (data - before) * (step / (2 * last_step))
        self._previous = (data, step)
        moved = (end / start) * sample - (1 - end) * math.expm1(-step) * target
        return moved.to(dtype)


def integrator(sampler: Sampler) -> Integrator:
    """A fresh integrator for one image."""
    return DpmSolver2M() if sampler.integrator == "dpmpp_2m" else Euler()


def flow_sigmas(steps: int, tokens: int, config: Mapping[str, Any], spacing: Spacing) -> torch.Tensor:
    """Sigmas [steps + 1] in float32, from 1 to 0, for an image of so many tokens.

    `config` is the checkpoint's scheduler configuration. Equals diffusers' FlowMatchEulerDiscreteScheduler, except that
    one step works: stretching a single sigma to the terminal one divides nothing by nothing there.
    """
    sigmas = np.linspace(1.0, 1 / steps, steps).astype(np.float32)
    sigmas = _shifted(sigmas, tokens, config)
    terminal = config.get("shift_terminal")
    if terminal and steps > 1:
        left = 1 - sigmas
        sigmas = 1 - left / (left[-1] / (1 - terminal))
    if spacing == "karras":
        sigmas = _karras(sigmas)
    return torch.cat([torch.from_numpy(np.asarray(sigmas)).to(torch.float32), torch.zeros(1)])


def _shifted(sigmas: np.ndarray, tokens: int, config: Mapping[str, Any]) -> np.ndarray:
    """Spend more steps at high noise the larger the image."""
    if not config.get("use_dynamic_shifting", False):
        shift = config.get("shift", 1.0)
        return shift * sigmas / (1 + (shift - 1) * sigmas)
    base_tokens, max_tokens = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    base_shift, max_shift = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    slope = (max_shift - base_shift) / (max_tokens - base_tokens)
    mu = tokens * slope + (base_shift - slope * base_tokens)
    weight = mu if config.get("time_shift_type") == "linear" else math.exp(mu)
    return weight / (weight + (1 / sigmas - 1) ** 1.0)


def _karras(sigmas: np.ndarray) -> np.ndarray:
    """Between the same ends, respaced so that steps shorten towards low noise."""
    low, high = sigmas[-1].item() ** (1 / KARRAS_RHO), sigmas[0].item() ** (1 / KARRAS_RHO)
    return (high + np.linspace(0, 1, len(sigmas)) * (low - high)) ** KARRAS_RHO


def _half_log_snr(sigma: float) -> float:
    if sigma <= 0.0:
        return math.inf
    return math.log((1 - sigma) / sigma) if sigma < 1.0 else -math.inf
