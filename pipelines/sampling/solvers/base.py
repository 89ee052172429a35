"""The interface of a solver, and the formulas of the rectified flow that all solvers share.

A sample at σ is x = (1 − σ) x0 + σ noise. The model predicts the velocity v = noise − x0, so x0 = x − σv.
The half log-SNR is λ = ln((1 − σ) / σ), infinite at both ends.
"""

import math
from collections.abc import Callable
from typing import Protocol

import torch

from pipelines.sampling.sigmas import Sigma

# A parabola is extrapolated only over a step of λ that is at most this many times the last one. The last step of the
# model's own schedule is 2 to 3 times as long. Third order was 3 to 4 times further off than Euler there, measured at
# 20 and 8 steps on a mixture of two Gaussians, whose flow is known.
MAX_STEP_GROWTH = 1.25

Velocity = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # of a sample at a sigma, a 0-dimensional tensor
Noise = Callable[[torch.Tensor], torch.Tensor]  # standard normal in float32, of a sample's shape, on its device


class Solver(Protocol):
    """Moves a sample from one sigma to the next along a predicted velocity. It holds the history of one image."""

    def step(self, velocity: Velocity, sample: torch.Tensor, sigma: Sigma, sigma_next: Sigma) -> torch.Tensor:
        """Return the sample at `sigma_next`, in the sample's dtype.

        Sample and velocity are [B, tokens, channels]. The host waits for no tensor.
        """
        ...


def half_log_snr(sigma: float) -> float:
    """Return λ of a sigma: −∞ at 1 and ∞ at 0."""
    if sigma <= 0.0:
        return math.inf
    return math.log((1 - sigma) / sigma) if sigma < 1.0 else -math.inf


def predict_x0(velocity: Velocity, sample: torch.Tensor, sigma: Sigma) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sample and the x0 predicted from it, both in float32. Takes one forward."""
    v = velocity(sample, sigma.tensor).to(torch.float32)
    sample = sample.to(torch.float32)
    return sample, sample - sigma.number * v


def first_order_update(sample: torch.Tensor, x0: torch.Tensor, sigma: float, sigma_next: float) -> torch.Tensor:
    """Return the exact solution of the flow at `sigma_next` for a constant x0. This is a step of DDIM."""
    h = half_log_snr(sigma_next) - half_log_snr(sigma)
    return (sigma_next / sigma) * sample - (1 - sigma_next) * math.expm1(-h) * x0


def sde_first_order_update(
    sample: torch.Tensor, x0: torch.Tensor, sigma: float, sigma_next: float, noise: torch.Tensor
) -> torch.Tensor:
    """Return the exact solution of the reverse SDE at `sigma_next` for a constant x0.

    Noise is removed twice as fast as along the flow, and fresh `noise` is added. The result is also the exact posterior
    at `sigma_next`, given the sample at `sigma` and x0.
    """
    h = half_log_snr(sigma_next) - half_log_snr(sigma)
    kept, replaced = (sigma_next / sigma) * math.exp(-h), -math.expm1(-2 * h)
    return kept * sample + (1 - sigma_next) * replaced * x0 + sigma_next * math.sqrt(replaced) * noise
