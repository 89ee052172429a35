"""What every solver shares: the signature of a step, and the flow's own formulas.

On a rectified flow a sample is x = (1 − σ) data + σ noise, the model predicts the velocity v = noise − data, and so the
data predicted from a sample is x − σv. The half log-SNR is λ = ln((1 − σ) / σ), infinite at both ends.
"""

import math
from collections.abc import Callable
from typing import Protocol

import torch

# A parabola is extrapolated only over steps of log-SNR at most so much longer than the last. The model's own schedule
# ends on one 2 to 3 times as long, where third order was 3 to 4 times further off than Euler (20 and 8 steps of a
# mixture of two Gaussians, whose flow is known).
PARABOLA_GROWTH = 1.25

Velocity = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # of a sample at a sigma
Noise = Callable[[torch.Tensor], torch.Tensor]  # standard normal in float32, of a sample's shape, on its device


class Solver(Protocol):
    """Moves a sample from sigma to the next sigma along a predicted velocity. It is the memory of one image."""

    def step(
        self, velocity: Velocity, sample: torch.Tensor, sigma: torch.Tensor, following: torch.Tensor
    ) -> torch.Tensor:
        """Sample and velocity [B, tokens, channels], sigmas 0-dimensional float32; returns the sample's dtype."""
        ...


def half_log_snr(sigma: float) -> float:
    """λ of a sigma: −∞ at 1 and ∞ at 0."""
    if sigma <= 0.0:
        return math.inf
    return math.log((1 - sigma) / sigma) if sigma < 1.0 else -math.inf


def with_data(velocity: Velocity, sample: torch.Tensor, sigma: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The sample and the data predicted from it, both in float32. One forward."""
    slope = velocity(sample, sigma).to(torch.float32)
    sample = sample.to(torch.float32)
    return sample, sample - float(sigma) * slope


def exponential_step(sample: torch.Tensor, data: torch.Tensor, start: float, end: float) -> torch.Tensor:
    """Where the flow takes a sample from sigma `start` to `end` if the predicted data stays `data`."""
    step = half_log_snr(end) - half_log_snr(start)
    return (end / start) * sample - (1 - end) * math.expm1(-step) * data


def stochastic_step(
    sample: torch.Tensor, data: torch.Tensor, start: float, end: float, noise: torch.Tensor
) -> torch.Tensor:
    """As `exponential_step`, along the reverse diffusion: noise is taken out twice as fast, and fresh noise added.

    This is also the exact posterior of the sample at `end` given the one at `start` and the data.
    """
    step = half_log_snr(end) - half_log_snr(start)
    kept, replaced = (end / start) * math.exp(-step), -math.expm1(-2 * step)
    return kept * sample + (1 - end) * replaced * data + end * math.sqrt(replaced) * noise
