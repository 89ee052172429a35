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
    always,
    fresh,
    observed_orders,
    of_data,
    walk,
    walk_stock,
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
    expected = walk_stock(scheduler, FLOW.velocity, start, sigmas)
    for ours, theirs in zip(walk(fresh(name), FLOW.velocity, start, sigmas), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize(("name", "order"), [("ddpm", 1), ("dpmpp_2m_sde", 2)])
def test_the_sde_form_equals_diffusers_given_the_same_noise(name: SolverName, order: int) -> None:
    start, seed = torch.randn(1, 4, 8), 3
    scheduler = stock(DPMSolverMultistepScheduler, algorithm_type="sde-dpmsolver++", solver_order=order)
    generator = torch.Generator().manual_seed(seed)
    expected = walk_stock(scheduler, FLOW.velocity, start, EVEN, generator=generator)
    again = torch.Generator().manual_seed(seed)
    moves = fresh(name, lambda like: torch.randn(like.shape, generator=again))
    for ours, theirs in zip(walk(moves, FLOW.velocity, start, EVEN), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize(("name", "speed"), [("dpmpp_3m", 1), ("dpmpp_3m_sde", 2)])
def test_third_order_is_exact_for_parabolas_of_the_log_snr(name: SolverName, speed: int) -> None:
    """Data that is a parabola in λ, against the integral taken numerically; diffusers' weights miss it."""
    moves = fresh(name, torch.zeros_like)
    sigmas = torch.tensor([0.9, 0.84, 0.77, 0.69])
    samples = walk(moves, of_data(PARABOLA), torch.ones(1, 1, 1), sigmas)
    start, end = (half_log_snr(sigma.item()) for sigma in sigmas[-2:])
    grid = np.linspace(start, end, 2001)
    rate = speed * np.exp(-speed * (end - grid))
    kept = (sigmas[-1] / sigmas[-2]).item() * math.exp((1 - speed) * (end - start))
    expected = kept * samples[-2].item() + (1 - sigmas[-1].item()) * np.trapezoid(rate * PARABOLA(grid), grid)
    assert samples[-1].item() == pytest.approx(expected, abs=1e-6)

    scheduler = stock(DPMSolverMultistepScheduler, solver_order=3)
    theirs = walk_stock(scheduler, of_data(PARABOLA), torch.ones(1, 1, 1), torch.cat([sigmas, torch.zeros(1)]))
    if speed == 1:
        assert abs(theirs[2].item() - expected) > 1e-5


@pytest.mark.parametrize("name", ["dpmpp_3m", "dpmpp_2m_sde", "dpmpp_3m_sde"])
def test_a_long_step_is_extrapolated_over_no_more_than_the_last(name: SolverName) -> None:
    """Data on a line in λ with one step three times as long: the line is followed for one step's length only."""
    sigmas = torch.sigmoid(-torch.tensor([-2.0, -1.5, -1.0, 0.5]))
    moves = fresh(name, torch.zeros_like)
    walk(moves, of_data(lambda at: at), torch.zeros(1, 1, 1), sigmas[:3])
    moved = moves.step(of_data(lambda at: at), torch.zeros(1, 1, 1), sigmas[2], sigmas[3])
    decay = 1.5 if name == "dpmpp_3m" else 3.0
    expected = (1 - sigmas[3].item()) * -math.expm1(-decay) * (-1.0 + 0.5 / 2)
    assert moved.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", [*EXPONENTIAL, "unipc_2", "unipc_3"])
def test_the_step_to_zero_is_the_predicted_data(name: SolverName) -> None:
    moves, sample, velocity = fresh(name), torch.randn(1, 4, 8), torch.randn(1, 4, 8)
    moves.step(always(velocity), sample, torch.tensor(0.5), torch.tensor(0.25))
    moved = moves.step(always(velocity), sample, torch.tensor(0.25), torch.tensor(0.0))
    torch.testing.assert_close(moved, sample - 0.25 * velocity)


@pytest.mark.parametrize("name", [*EXPONENTIAL, "unipc_2", "unipc_3"])
def test_the_first_step_from_pure_noise_is_eulers(name: SolverName) -> None:
    sample, velocity = torch.randn(1, 4, 8), torch.randn(1, 4, 8)
    start, end = torch.tensor(1.0), torch.tensor(0.9)
    both = [fresh(each).step(always(velocity), sample, start, end) for each in ("euler", name)]
    torch.testing.assert_close(both[1], both[0])


def test_ddpm_draws_from_the_exact_posterior() -> None:
    """Given the data, a step keeps the flow's own mean and variance: noise of variance σ² around (1 − σ) data."""
    data, noise = 0.6, step_noise(1)
    sample = 0.2 * data + 0.8 * noise(torch.zeros(1, 100_000, 1))
    moves = fresh("ddpm", noise)
    moved = moves.step(of_data(lambda _: data), sample, torch.tensor(0.8), torch.tensor(0.3))
    assert moved.mean().item() == pytest.approx(0.7 * data, abs=0.01)
    assert moved.std().item() == pytest.approx(0.3, abs=0.01)
