"""The expected timesteps against those of a render, for every solver."""

from itertools import pairwise
from typing import get_args

import pytest
import torch

from pipelines.request import Sampler, SolverName
from pipelines.sampling.evaluations import expected_timesteps, timestep_of
from pipelines.sampling.solvers.registry import make_solver

SIGMAS = torch.tensor([1.0, 0.93, 0.8, 0.61, 0.33, 0.02, 0.0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("solver", get_args(SolverName))
def test_every_evaluation_is_expected(solver: SolverName, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(3)
    asked: list[float] = []

    def velocity(sample: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        asked.append(float(timestep_of(sample, sigma)))
        return torch.randn(sample.shape, generator=generator).to(sample.dtype)

    sample = torch.randn(1, 4, 8, generator=generator).to(dtype)
    running = make_solver(Sampler(solver), lambda like: torch.randn(like.shape, generator=generator))
    for sigma, sigma_next in pairwise(SIGMAS):
        sample = running.step(velocity, sample, sigma, sigma_next)
    assert [float(timestep) for timestep in expected_timesteps(Sampler(solver), SIGMAS, dtype)] == asked


def test_a_timestep_is_rounded_to_the_dtype_of_the_sample() -> None:
    sigma = torch.tensor(0.1234567)
    assert timestep_of(torch.zeros(1), sigma).dtype == torch.float32
    rounded = timestep_of(torch.zeros(1, dtype=torch.bfloat16), sigma)
    assert torch.equal(rounded, (sigma * 1000).to(torch.bfloat16).expand(1) / 1000)
