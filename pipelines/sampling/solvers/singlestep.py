"""Solvers without memory: each step stands alone, with one or two forwards."""

from collections.abc import Callable

import torch

from pipelines.sampling.solvers.base import Velocity

Move = Callable[[Velocity, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


class Singlestep:
    """A solver that is one function of (velocity, sample, sigma, following), which returns float32."""

    def __init__(self, move: Move) -> None:
        self._move = move

    def step(
        self, velocity: Velocity, sample: torch.Tensor, sigma: torch.Tensor, following: torch.Tensor
    ) -> torch.Tensor:
        """One step, computed in float32."""
        return self._move(velocity, sample, sigma, following).to(sample.dtype)


def euler(velocity: Velocity, sample: torch.Tensor, sigma: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
    """First order; equals diffusers' FlowMatchEulerDiscreteScheduler bit for bit. On a flow, DDIM is the same step."""
    return sample.to(torch.float32) + (following - sigma) * velocity(sample, sigma)


def heun(velocity: Velocity, sample: torch.Tensor, sigma: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
    """Second order: the mean of the velocities at both ends (Karras et al. 2022, algorithm 1). Euler's step to zero."""
    start = velocity(sample, sigma).to(torch.float32)
    moved = sample.to(torch.float32) + (following - sigma) * start
    if float(following) == 0.0:
        return moved
    end = velocity(moved.to(sample.dtype), following).to(torch.float32)
    return sample.to(torch.float32) + (following - sigma) * (start + end) / 2


def midpoint(velocity: Velocity, sample: torch.Tensor, sigma: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
    """Second order: the velocity halfway in log σ (DPM-Solver-2 as k-diffusion has it). Euler's step to zero."""
    if float(following) == 0.0:
        return euler(velocity, sample, sigma, following)
    between = (sigma * following).sqrt()
    halfway = euler(velocity, sample, sigma, between).to(sample.dtype)
    return sample.to(torch.float32) + (following - sigma) * velocity(halfway, between).to(torch.float32)
