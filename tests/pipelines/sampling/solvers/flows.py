"""Flows whose solution is known, and what the tests share to walk along them."""

import math
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch

from pipelines.request import Sampler, SolverName
from pipelines.sampling.sigmas import flow_sigmas
from pipelines.sampling.solvers.base import Noise, Solver, Velocity, half_log_snr
from pipelines.sampling.solvers.table import make_solver

# Irregular as the model's own, but begun below pure noise, as a picture drawn over another one is.
OWN = flow_sigmas(20, 4096, {"shift": 2.0, "shift_terminal": 0.02}, "shifted")[1:]
# Equal steps of log-SNR to 0.05, and then to zero.
EVEN = torch.cat([torch.sigmoid(torch.linspace(2.5, -math.log(19), 19, dtype=torch.float64)).float(), torch.zeros(1)])


def fresh(name: SolverName, noise: Noise | None = None) -> Solver:
    """A solver with the noise given, or else one that must not need any."""
    return make_solver(Sampler(name), noise or _no_noise)


def _no_noise(like: torch.Tensor) -> torch.Tensor:
    raise AssertionError("a deterministic solver asked for noise")


def walk(moves: Solver, velocity: Velocity, sample: torch.Tensor, sigmas: torch.Tensor) -> list[torch.Tensor]:
    """The sample after each step."""
    samples = []
    for sigma, following in pairwise(sigmas):
        sample = moves.step(velocity, sample, sigma, following)
        samples.append(sample)
    return samples


def walk_stock(
    scheduler: Any, velocity: Velocity, sample: torch.Tensor, sigmas: torch.Tensor, **options: Any
) -> list[torch.Tensor]:
    """The same with a scheduler of diffusers', made to take these sigmas."""
    samples = []
    with warnings.catch_warnings():  # diffusers hands tensors to numpy in ways that numpy is about to drop
        warnings.filterwarnings("ignore", "__array_", DeprecationWarning)
        scheduler.set_timesteps(len(sigmas) - 1)
        scheduler.sigmas, scheduler.timesteps = sigmas, sigmas[:-1] * 1000
        for sigma, time in zip(sigmas[:-1], scheduler.timesteps, strict=True):
            sample = scheduler.step(velocity(sample, sigma), time, sample, return_dict=False, **options)[0]
            samples.append(sample)
    return samples


class Gaussian:
    """Data N(mean, spread²) in one dimension, whose probability flow is known exactly."""

    mean, spread = 0.8, 0.35

    def scale(self, sigma: float) -> float:
        return math.hypot((1 - sigma) * self.spread, sigma)

    def velocity(self, sample: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        sigma = at.item()
        gain = (1 - sigma) * self.spread**2 / self.scale(sigma) ** 2
        data = self.mean + gain * (sample - (1 - sigma) * self.mean)
        return (sample - data) / sigma

    def at(self, sigma: float, quantile: torch.Tensor) -> torch.Tensor:
        return (1 - sigma) * self.mean + self.scale(sigma) * quantile


def observed_orders(name: SolverName, steps: Sequence[int], primed: int = 0) -> list[float]:
    """Orders of convergence between numbers of equal steps from sigma 0.95 to 0.05, over a few starting points.

    The first `primed` steps are put right after they were taken: multistep methods begin with a lower order.
    """
    flow, quantiles, errors = Gaussian(), torch.tensor([-2.0, -0.5, 0.3, 1.5]), []
    for count in steps:
        sigmas, moves, sample = torch.linspace(0.95, 0.05, count + 1), fresh(name), flow.at(0.95, quantiles)
        for number, (sigma, following) in enumerate(pairwise(sigmas)):
            sample = moves.step(flow.velocity, sample, sigma, following)
            if number < primed:
                sample = flow.at(following.item(), quantiles)
        errors.append((sample - flow.at(0.05, quantiles)).abs().max().item())
    return [
        math.log(coarse / fine) / math.log(more / few)
        for (coarse, fine), (few, more) in zip(pairwise(errors), pairwise(steps), strict=True)
    ]


def of_data(data: Callable[[float], float]) -> Velocity:
    """The velocity of a model that predicts the same data for every sample: a function of the half log-SNR."""
    return lambda sample, sigma: (sample - data(half_log_snr(sigma.item()))) / sigma


def always(velocity: torch.Tensor) -> Velocity:
    return lambda sample, sigma: velocity
