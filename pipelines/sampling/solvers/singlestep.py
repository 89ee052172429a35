"""Solvers without history: each step takes one or two forwards of its own."""

from collections.abc import Callable

import torch

from pipelines.sampling.sigmas import Sigma
from pipelines.sampling.solvers.base import Velocity

Update = Callable[[Velocity, torch.Tensor, Sigma, Sigma], torch.Tensor]


class Singlestep:
    """A solver made of one function of (velocity, sample, sigma, sigma_next) that returns float32."""

    def __init__(self, update: Update) -> None:
        self._update = update

    def step(self, velocity: Velocity, sample: torch.Tensor, sigma: Sigma, sigma_next: Sigma) -> torch.Tensor:
        """Take one step, computed in float32."""
        return self._update(velocity, sample, sigma, sigma_next).to(sample.dtype)


def euler(velocity: Velocity, sample: torch.Tensor, sigma: Sigma, sigma_next: Sigma) -> torch.Tensor:
    """First order. Equals diffusers' FlowMatchEulerDiscreteScheduler bit for bit, and DDIM on a flow."""
    return _along(velocity, sample, sigma.tensor, sigma_next.tensor)


def heun(velocity: Velocity, sample: torch.Tensor, sigma: Sigma, sigma_next: Sigma) -> torch.Tensor:
    """Second order: the mean of the velocities at both ends (Karras et al. 2022, algorithm 1).

    The step to zero is Euler's.
    """
    v, step = velocity(sample, sigma.tensor).to(torch.float32), sigma_next.tensor - sigma.tensor
    predicted = sample.to(torch.float32) + step * v
    if sigma_next.number == 0.0:
        return predicted
    v_next = velocity(predicted.to(sample.dtype), sigma_next.tensor).to(torch.float32)
    return sample.to(torch.float32) + step * (v + v_next) / 2


def midpoint(velocity: Velocity, sample: torch.Tensor, sigma: Sigma, sigma_next: Sigma) -> torch.Tensor:
    """Second order: the velocity at the midpoint in log σ (k-diffusion's DPM-Solver-2).

    The step to zero is Euler's.
    """
    if sigma_next.number == 0.0:
        return euler(velocity, sample, sigma, sigma_next)
    step, sigma_mid = sigma_next.tensor - sigma.tensor, (sigma.tensor * sigma_next.tensor).sqrt()
    sample_mid = _along(velocity, sample, sigma.tensor, sigma_mid).to(sample.dtype)
    return sample.to(torch.float32) + step * velocity(sample_mid, sigma_mid).to(torch.float32)


def _along(velocity: Velocity, sample: torch.Tensor, sigma: torch.Tensor, sigma_next: torch.Tensor) -> torch.Tensor:
    """The sample moved along its velocity, in float32."""
    return sample.to(torch.float32) + (sigma_next - sigma) * velocity(sample, sigma)
