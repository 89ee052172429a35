"""The expected timesteps against those of a render, for every solver."""

from itertools import pairwise
from typing import get_args

import pytest
import torch

from pipelines.request import Sampler, SolverName
from pipelines.sampling.evaluations import expected_timesteps, timestep_of
from pipelines.sampling.sigmas import sigmas_on
from pipelines.sampling.solvers.registry import make_solver

SIGMAS = sigmas_on(torch.device("cpu"), torch.tensor([1.0, 0.93, 0.8, 0.61, 0.33, 0.02, 0.0]))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("solver", get_args(SolverName))
def test_every_evaluation_is_expected_and_the_first_one_of_a_step_is_at_its_sample(
    solver: SolverName, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(3)
    asked: list[list[tuple[float, torch.Tensor]]] = []

    def velocity(sample: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        asked[-1].append((float(timestep_of(sample, sigma)), sample))
        return torch.randn(sample.shape, generator=generator).to(sample.dtype)

    sample = torch.randn(1, 4, 8, generator=generator).to(dtype)
    running = make_solver(Sampler(solver), lambda like: torch.randn(like.shape, generator=generator))
    for sigma, sigma_next in pairwise(SIGMAS):
        asked.append([])
        before, sample = sample, running.step(velocity, sample, sigma, sigma_next)
        assert asked[-1][0][1] is before  # a velocity that was evaluated before the step counts as its first one
    expected = expected_timesteps(Sampler(solver), SIGMAS, dtype)
    assert [[float(timestep) for timestep in step] for step in expected] == [
        [timestep for timestep, _ in step] for step in asked
    ]


def test_a_timestep_is_rounded_to_the_dtype_of_the_sample() -> None:
    sigma = torch.tensor(0.1234567)
    assert timestep_of(torch.zeros(1), sigma).dtype == torch.float32
    rounded = timestep_of(torch.zeros(1, dtype=torch.bfloat16), sigma)
    assert torch.equal(rounded, (sigma * 1000).to(torch.bfloat16).expand(1) / 1000)
