import math
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.schedulers.scheduling_deis_multistep import DEISMultistepScheduler
from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
from diffusers.schedulers.scheduling_dpmsolver_singlestep import DPMSolverSinglestepScheduler

from pipelines.latents import step_noise
from pipelines.request import SolverName
from pipelines.sampling.solvers.base import half_log_snr
from tests.pipelines.sampling.solvers.flows import (
    EVEN,
    OWN,
    Gaussian,
    at,
    constant_velocity,
    new_solver,
    observed_orders,
    solve,
    solve_with_diffusers,
    velocity_to_x0,
)

FLOW = Gaussian()
PARABOLA = np.polynomial.Polynomial([0.4, -0.3, 0.1])
EXPONENTIAL: tuple[SolverName, ...] = ("dpmpp_2m", "dpmpp_3m", "dpmpp_2s", "deis")


def stock(kind: type[Any], **options: Any) -> Any:
    return kind(prediction_type="flow_prediction", use_flow_sigmas=True, **options)


@pytest.mark.parametrize(("name", "order"), [("dpmpp_2m", 2), ("dpmpp_3m", 3), ("dpmpp_2s", 2), ("deis", 2)])
def test_order(name: SolverName, order: int) -> None:
    assert observed_orders(name, (120, 240), primed=2) == pytest.approx([order], abs=0.25)


@pytest.mark.parametrize(
    ("name", "scheduler", "sigmas"),
    [
        ("dpmpp_2m", stock(DPMSolverMultistepScheduler), OWN),
        ("dpmpp_2s", stock(DPMSolverSinglestepScheduler), OWN),
        ("dpmpp_2s", stock(DPMSolverSinglestepScheduler, lower_order_final=True), OWN[1:]),
        ("deis", stock(DEISMultistepScheduler), torch.cat([OWN[:-1], torch.tensor([1e-3])])),
    ],
)
def test_it_equals_diffusers(name: SolverName, scheduler: Any, sigmas: torch.Tensor) -> None:
    start = torch.randn(1, 4, 8)
    expected = solve_with_diffusers(scheduler, FLOW.velocity, start, sigmas)
    for ours, theirs in zip(solve(new_solver(name), FLOW.velocity, start, sigmas), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize(("name", "order"), [("ddpm", 1), ("dpmpp_2m_sde", 2)])
def test_the_sde_form_equals_diffusers_given_the_same_noise(name: SolverName, order: int) -> None:
    start, seed = torch.randn(1, 4, 8), 3
    scheduler = stock(DPMSolverMultistepScheduler, algorithm_type="sde-dpmsolver++", solver_order=order)
    generator = torch.Generator().manual_seed(seed)
    expected = solve_with_diffusers(scheduler, FLOW.velocity, start, EVEN, generator=generator)
    again = torch.Generator().manual_seed(seed)
    solver = new_solver(name, lambda like: torch.randn(like.shape, generator=again))
    for ours, theirs in zip(solve(solver, FLOW.velocity, start, EVEN), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize(("name", "speed"), [("dpmpp_3m", 1), ("dpmpp_3m_sde", 2)])
def test_third_order_is_exact_for_parabolas_of_the_log_snr(name: SolverName, speed: int) -> None:
    """x0 is a parabola in λ. The reference is a numerical integral; diffusers' weights miss it."""
    solver = new_solver(name, torch.zeros_like)
    sigmas = torch.tensor([0.9, 0.84, 0.77, 0.69])
    samples = solve(solver, velocity_to_x0(PARABOLA), torch.ones(1, 1, 1), sigmas)
    start, end = (half_log_snr(sigma.item()) for sigma in sigmas[-2:])
    grid = np.linspace(start, end, 2001)
    rate = speed * np.exp(-speed * (end - grid))
    kept = (sigmas[-1] / sigmas[-2]).item() * math.exp((1 - speed) * (end - start))
    expected = kept * samples[-2].item() + (1 - sigmas[-1].item()) * np.trapezoid(rate * PARABOLA(grid), grid)
    assert samples[-1].item() == pytest.approx(expected, abs=1e-6)

    scheduler = stock(DPMSolverMultistepScheduler, solver_order=3)
    theirs = solve_with_diffusers(
        scheduler, velocity_to_x0(PARABOLA), torch.ones(1, 1, 1), torch.cat([sigmas, torch.zeros(1)])
    )
    if speed == 1:
        assert abs(theirs[2].item() - expected) > 1e-5


@pytest.mark.parametrize("name", ["dpmpp_3m", "dpmpp_2m_sde", "dpmpp_3m_sde"])
def test_a_long_step_is_extrapolated_over_no_more_than_the_last(name: SolverName) -> None:
    """x0 is a line in λ, and one step is three times as long: the line is followed for one step only."""
    sigmas = torch.sigmoid(-torch.tensor([-2.0, -1.5, -1.0, 0.5]))
    solver = new_solver(name, torch.zeros_like)
    solve(solver, velocity_to_x0(lambda log_snr: log_snr), torch.zeros(1, 1, 1), sigmas[:3])
    sample_next = solver.step(
        velocity_to_x0(lambda log_snr: log_snr), torch.zeros(1, 1, 1), at(sigmas[2].item()), at(sigmas[3].item())
    )
    decay = 1.5 if name == "dpmpp_3m" else 3.0
    expected = (1 - sigmas[3].item()) * -math.expm1(-decay) * (-1.0 + 0.5 / 2)
    assert sample_next.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", [*EXPONENTIAL, "unipc_2", "unipc_3"])
def test_the_step_to_zero_is_the_predicted_x0(name: SolverName) -> None:
    solver, sample, velocity = new_solver(name), torch.randn(1, 4, 8), torch.randn(1, 4, 8)
    solver.step(constant_velocity(velocity), sample, at(0.5), at(0.25))
    sample_next = solver.step(constant_velocity(velocity), sample, at(0.25), at(0.0))
    torch.testing.assert_close(sample_next, sample - 0.25 * velocity)


@pytest.mark.parametrize("name", [*EXPONENTIAL, "unipc_2", "unipc_3"])
def test_the_first_step_from_pure_noise_is_eulers(name: SolverName) -> None:
    sample, velocity = torch.randn(1, 4, 8), torch.randn(1, 4, 8)
    start, end = at(1.0), at(0.9)
    both = [new_solver(each).step(constant_velocity(velocity), sample, start, end) for each in ("euler", name)]
    torch.testing.assert_close(both[1], both[0])


def test_ddpm_draws_from_the_exact_posterior() -> None:
    """Given x0, a step keeps the mean and variance of the flow: noise of variance σ² around (1 − σ) x0."""
    x0, noise = 0.6, step_noise(1)
    sample = 0.2 * x0 + 0.8 * noise(torch.zeros(1, 100_000, 1))
    solver = new_solver("ddpm", noise)
    sample_next = solver.step(velocity_to_x0(lambda _: x0), sample, at(0.8), at(0.3))
    assert sample_next.mean().item() == pytest.approx(0.7 * x0, abs=0.01)
    assert sample_next.std().item() == pytest.approx(0.3, abs=0.01)
