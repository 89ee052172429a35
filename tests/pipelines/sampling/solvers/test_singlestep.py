from typing import Any

import pytest
import torch
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from diffusers.schedulers.scheduling_flow_match_heun_discrete import FlowMatchHeunDiscreteScheduler

from pipelines.request import SolverName
from tests.pipelines.sampling.solvers.flows import (
    OWN,
    Gaussian,
    at,
    new_solver,
    observed_orders,
    solve,
    solve_with_diffusers,
)

FLOW = Gaussian()


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("heun", 2), ("kdpm2", 2)])
def test_order(name: SolverName, order: int) -> None:
    assert observed_orders(name, (20, 40, 80)) == pytest.approx([order, order], abs=0.2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_euler_equals_diffusers_bit_for_bit(dtype: torch.dtype) -> None:
    start = torch.randn(1, 4, 8).to(dtype)
    expected = solve_with_diffusers(FlowMatchEulerDiscreteScheduler(), FLOW.velocity, start, OWN)
    for ours, theirs in zip(solve(new_solver("euler"), FLOW.velocity, start, OWN), expected, strict=True):
        assert torch.equal(ours, theirs)


def test_euler_is_deterministic_ddim() -> None:
    sample, velocity = torch.randn(1, 4, 8), torch.randn(1, 4, 8)
    x0, noise = sample - 0.7 * velocity, sample + 0.3 * velocity
    sample_next = new_solver("euler").step(lambda *_: velocity, sample, at(0.7), at(0.4))
    torch.testing.assert_close(sample_next, 0.6 * x0 + 0.4 * noise)


def test_heun_equals_diffusers() -> None:
    scheduler: Any = FlowMatchHeunDiscreteScheduler()
    scheduler.set_timesteps(8)
    sigmas = scheduler.sigmas.unique_consecutive()
    start = sample = torch.randn(1, 4, 8)
    for time in scheduler.timesteps:
        velocity = FLOW.velocity(sample, time / 1000)
        sample = scheduler.step(velocity, time, sample, return_dict=False)[0]
    torch.testing.assert_close(solve(new_solver("heun"), FLOW.velocity, start, sigmas)[-1], sample)
