import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from pipelines.request import SolverName
from pipelines.sampling.solvers.base import Velocity
from tests.pipelines.sampling.solvers.flows import OWN, at, new_solver, observed_orders, solve

CUBIC = np.polynomial.Polynomial([0.3, -1.2, 2.0, -0.7])


def of_sigma(polynomial: np.polynomial.Polynomial) -> Velocity:
    return lambda sample, sigma: torch.full_like(sample, polynomial(sigma.item()))


@pytest.mark.parametrize("name", ["lms", "ipndm", "pndm"])
def test_order(name: SolverName) -> None:
    assert observed_orders(name, (15, 30, 60), primed=3) == pytest.approx([4, 4], abs=0.3)


@pytest.mark.parametrize(
    ("name", "sigmas"), [("lms", OWN), ("ipndm", torch.linspace(1, 0, 21)), ("pndm", torch.linspace(1, 0, 21))]
)
def test_once_under_way_cubic_velocities_are_exact(name: SolverName, sigmas: torch.Tensor) -> None:
    samples = solve(new_solver(name), of_sigma(CUBIC), torch.zeros(1, 1, 1), sigmas)
    whole = CUBIC.integ()
    for (before, after), (sigma, sigma_next) in list(zip(pairwise(samples), pairwise(sigmas[1:]), strict=True))[2:]:
        expected = whole(sigma_next.item()) - whole(sigma.item())
        assert (after - before).item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("name", "first"), [("pndm", "heun"), ("ipndm", "euler"), ("lms", "euler")])
def test_the_first_step(name: SolverName, first: SolverName) -> None:
    sample, start, end = torch.randn(1, 4, 8), at(1.0), at(0.9)

    def decay(x: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return -x * sigma

    sample_next = new_solver(name).step(decay, sample, start, end)
    torch.testing.assert_close(sample_next, new_solver(first).step(decay, sample, start, end))


def test_equal_steps_make_lms_and_ipndm_one() -> None:
    sample, sigmas = torch.randn(1, 4, 8), torch.linspace(1, 0, 11)
    ends = [solve(new_solver(name), lambda x, s: x * math.sin(s), sample, sigmas)[-1] for name in ("lms", "ipndm")]
    torch.testing.assert_close(ends[0], ends[1])
