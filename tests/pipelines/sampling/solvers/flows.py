"""Flows with a known solution, and the helpers that solve them."""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch

from pipelines.request import Sampler, SolverName
from pipelines.sampling.sigmas import Sigma, flow_sigmas, sigmas_on
from pipelines.sampling.solvers.base import Noise, Solver, Velocity, half_log_snr
from pipelines.sampling.solvers.registry import make_solver

# Irregular like the model's own schedule, but from below pure noise, as image to image has it.
OWN = flow_sigmas(20, 4096, {"shift": 2.0, "shift_terminal": 0.02}, "shifted")[1:]
# Equal steps of log-SNR to 0.05, and then to zero.
EVEN = torch.cat([torch.sigmoid(torch.linspace(2.5, -math.log(19), 19, dtype=torch.float64)).float(), torch.zeros(1)])


def new_solver(name: SolverName, noise: Noise | None = None) -> Solver:
    """A solver of the given noise. Without noise, it must be deterministic."""
    return make_solver(Sampler(name), noise or _no_noise)


def _no_noise(like: torch.Tensor) -> torch.Tensor:
    raise AssertionError("a deterministic solver asked for noise")


def at(sigma: float) -> Sigma:
    return Sigma(sigma, torch.tensor(sigma))


def steps_of(sigmas: torch.Tensor) -> Iterator[tuple[Sigma, Sigma]]:
    return pairwise(sigmas_on(torch.device("cpu"), sigmas))


def solve(solver: Solver, velocity: Velocity, sample: torch.Tensor, sigmas: torch.Tensor) -> list[torch.Tensor]:
    """The sample after each step."""
    samples = []
    for sigma, sigma_next in steps_of(sigmas):
        sample = solver.step(velocity, sample, sigma, sigma_next)
        samples.append(sample)
    return samples


def solve_with_diffusers(
    scheduler: Any, velocity: Velocity, sample: torch.Tensor, sigmas: torch.Tensor, **options: Any
) -> list[torch.Tensor]:
    """The same with a scheduler of diffusers, set to these sigmas."""
    samples = []
    with warnings.catch_warnings():  # diffusers uses numpy in deprecated ways
        warnings.filterwarnings("ignore", "__array_", DeprecationWarning)
        scheduler.set_timesteps(len(sigmas) - 1)
        scheduler.sigmas, scheduler.timesteps = sigmas, sigmas[:-1] * 1000
        for sigma, time in zip(sigmas[:-1], scheduler.timesteps, strict=True):
            sample = scheduler.step(velocity(sample, sigma), time, sample, return_dict=False, **options)[0]
            samples.append(sample)
    return samples


class Gaussian:
    """Data N(mean, spread²) in one dimension, with an exactly known probability flow."""

    mean, spread = 0.8, 0.35

    def scale(self, sigma: float) -> float:
        return math.hypot((1 - sigma) * self.spread, sigma)

    def velocity(self, sample: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
        sigma = at.item()
        gain = (1 - sigma) * self.spread**2 / self.scale(sigma) ** 2
        x0 = self.mean + gain * (sample - (1 - sigma) * self.mean)
        return (sample - x0) / sigma

    def at(self, sigma: float, quantile: torch.Tensor) -> torch.Tensor:
        return (1 - sigma) * self.mean + self.scale(sigma) * quantile


def observed_orders(name: SolverName, steps: Sequence[int], primed: int = 0) -> list[float]:
    """Orders of convergence between numbers of equal steps from sigma 0.95 to 0.05, over a few starting points.

    The first `primed` steps are replaced by the exact solution: multistep methods begin with a lower order.
    """
    flow, quantiles, errors = Gaussian(), torch.tensor([-2.0, -0.5, 0.3, 1.5]), []
    for count in steps:
        sigmas, solver, sample = torch.linspace(0.95, 0.05, count + 1), new_solver(name), flow.at(0.95, quantiles)
        for number, (sigma, sigma_next) in enumerate(steps_of(sigmas)):
            sample = solver.step(flow.velocity, sample, sigma, sigma_next)
            if number < primed:
                sample = flow.at(sigma_next.number, quantiles)
        errors.append((sample - flow.at(0.05, quantiles)).abs().max().item())
    return [
        math.log(coarse / fine) / math.log(more / few)
        for (coarse, fine), (few, more) in zip(pairwise(errors), pairwise(steps), strict=True)
    ]


def velocity_to_x0(x0: Callable[[float], float]) -> Velocity:
    """The velocity of a model whose x0 depends on the half log-SNR only."""
    return lambda sample, sigma: (sample - x0(half_log_snr(sigma.item()))) / sigma


def constant_velocity(velocity: torch.Tensor) -> Velocity:
    return lambda sample, sigma: velocity
