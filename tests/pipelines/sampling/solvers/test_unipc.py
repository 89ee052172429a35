import pytest
import torch
from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler

from pipelines.request import SolverName
from tests.pipelines.sampling.solvers.flows import (
    EVEN,
    OWN,
    Gaussian,
    new_solver,
    observed_orders,
    solve,
    solve_with_diffusers,
)

FLOW = Gaussian()


@pytest.mark.parametrize(("name", "order"), [("unipc_2", 3), ("unipc_3", 4)])
def test_the_corrector_adds_one_order(name: SolverName, order: int) -> None:
    assert observed_orders(name, (30, 60, 120), primed=3) == pytest.approx([order, order], abs=0.3)


@pytest.mark.parametrize(
    ("name", "order", "sigmas", "alike"),
    # At the end, diffusers lowers the order by the number of steps left, ours by their length.
    [("unipc_2", 2, OWN, None), ("unipc_3", 3, EVEN, -2)],
)
def test_it_equals_diffusers(name: SolverName, order: int, sigmas: torch.Tensor, alike: int | None) -> None:
    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, solver_order=order, solver_type="bh2"
    )
    start = torch.randn(1, 4, 8)
    expected = solve_with_diffusers(scheduler, FLOW.velocity, start, sigmas)[:alike]
    for ours, theirs in zip(solve(new_solver(name), FLOW.velocity, start, sigmas)[:alike], expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=2e-5)


def test_a_long_step_is_of_second_order() -> None:
    sigmas = torch.sigmoid(-torch.tensor([-2.0, -1.5, -1.0, 0.5]))
    start = torch.randn(1, 4, 8)
    second = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, solver_order=3)
    # With three steps and a fourth to zero, diffusers lowers the third to second order too.
    expected = solve_with_diffusers(second, FLOW.velocity, start, torch.cat([sigmas, torch.zeros(1)]))[2]
    torch.testing.assert_close(solve(new_solver("unipc_3"), FLOW.velocity, start, sigmas)[-1], expected)
