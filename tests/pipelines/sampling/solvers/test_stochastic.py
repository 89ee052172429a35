from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from diffusers.schedulers.scheduling_flow_match_lcm import FlowMatchLCMScheduler
from diffusers.schedulers.scheduling_ltx_euler_ancestral_rf import LTXEulerAncestralRFScheduler

from pipelines.latents import step_noise
from pipelines.request import SolverName, Stochastic
from pipelines.sampling.sigmas import flow_sigmas
from tests.pipelines.sampling.solvers.flows import OWN, Gaussian, at, new_solver, solve, solve_with_diffusers

FLOW = Gaussian()
STOCHASTIC: tuple[SolverName, ...] = get_args(Stochastic)
FIRST_ORDER: tuple[SolverName, ...] = ("euler_a", "ddpm")


def distilled(sample: torch.Tensor, sigma_at: torch.Tensor) -> torch.Tensor:
    """The velocity of a model that predicts the end of the flow, as models for LCM do."""
    sigma = sigma_at.item()
    quantile = (sample - (1 - sigma) * FLOW.mean) / FLOW.scale(sigma)
    return (sample - FLOW.at(0.0, quantile)) / sigma


def final_statistics(name: SolverName, steps: int, start: int = 0) -> tuple[float, float]:
    """Mean and spread of many samples after the last step, from the sigma of a given step."""
    sigmas = flow_sigmas(steps, 4096, {"shift": 2.0}, "shifted")[start:]
    samples = FLOW.at(sigmas[0].item(), step_noise(8)(torch.zeros(1, 20_000, 1)))
    velocity = distilled if name == "lcm" else FLOW.velocity
    end = solve(new_solver(name, step_noise(9)), velocity, samples, sigmas)[-1]
    return end.mean().item(), end.std().item()


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [(name, 0.16 if name in (*FIRST_ORDER, "tcd") else 0.06) for name in STOCHASTIC],
)
@pytest.mark.parametrize("start", [0, 25], ids=["from noise", "from halfway"])
def test_it_ends_on_the_data(name: SolverName, tolerance: float, start: int) -> None:
    mean, spread = final_statistics(name, 50, start)
    assert mean == pytest.approx(FLOW.mean, abs=0.02)
    assert spread == pytest.approx(FLOW.spread, rel=tolerance)


@pytest.mark.parametrize("name", FIRST_ORDER)
def test_more_steps_bring_first_order_closer(name: SolverName) -> None:
    errors = [abs(final_statistics(name, steps)[1] - FLOW.spread) for steps in (25, 100)]
    assert errors[0] > 2.5 * errors[1]


@pytest.mark.parametrize("name", STOCHASTIC)
def test_the_noise_comes_from_the_seed(name: SolverName) -> None:
    start = torch.randn(1, 4, 8)
    first, again, other = (solve(new_solver(name, step_noise(s)), FLOW.velocity, start, OWN)[-1] for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("name", STOCHASTIC)
def test_the_step_to_zero_adds_none(name: SolverName) -> None:
    sample, velocity = torch.randn(1, 4, 8), torch.randn(1, 4, 8)
    sample_next = new_solver(name, step_noise(1)).step(lambda *_: velocity, sample, at(0.3), at(0.0))
    torch.testing.assert_close(sample_next, sample - 0.3 * velocity)


@pytest.mark.parametrize(
    ("name", "scheduler"), [("euler_a", LTXEulerAncestralRFScheduler), ("lcm", FlowMatchLCMScheduler)]
)
def test_it_equals_diffusers_given_the_same_noise(name: SolverName, scheduler: Callable[[], Any]) -> None:
    start, seed = torch.randn(1, 4, 8), 3
    generator, again = (torch.Generator().manual_seed(seed) for _ in range(2))
    expected = solve_with_diffusers(scheduler(), FLOW.velocity, start, OWN, generator=generator)
    solver = new_solver(name, lambda like: torch.randn(like.shape, generator=again))
    for ours, theirs in list(zip(solve(solver, FLOW.velocity, start, OWN), expected, strict=True))[:-1]:
        torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=2e-5)


def test_tcd_goes_seven_tenths_of_the_way_without_noise() -> None:
    """Zheng et al. 2024, algorithm 4: solve down to s = (1 − γ) t, then add the noise of the flow up to t."""
    sample, velocity, noise = torch.randn(1, 4, 8), torch.randn(1, 4, 8), torch.randn(1, 4, 8)
    sample_next = new_solver("tcd", lambda _: noise).step(lambda *_: velocity, sample, at(0.8), at(0.5))
    at_s = new_solver("euler").step(lambda *_: velocity, sample, at(0.8), at(0.35))
    scale = 0.5 / 0.65
    torch.testing.assert_close(sample_next, scale * at_s + (0.5**2 - (scale * 0.35) ** 2) ** 0.5 * noise)


def test_both_halves_of_a_dpmpp_sde_step_lie_on_one_path() -> None:
    """The noise of the midpoint is part of the noise of the step. With a constant x0, their correlation is known."""
    drawn: list[torch.Tensor] = []

    def velocity(sample: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        drawn.append(sample)
        return sample / sigma  # x0 is 0

    start, sigmas = torch.zeros(1, 50_000, 1), torch.tensor([0.9, 0.4])
    sample_next = solve(new_solver("dpmpp_sde", step_noise(4)), velocity, start, sigmas)[-1]
    middle = drawn[1]
    first, halfway, last = 0.9, 0.7101, 0.4  # ρ = σ / (1 − σ): the middle one is the geometric mean
    for sigma, sample in ((halfway, middle), (last, sample_next)):
        # The variance of the reverse diffusion since the start: σ² (1 − (ρ / ρ₀)²).
        expected = sigma**2 * (1 - (ratio(sigma) / ratio(first)) ** 2)
        assert sample.var().item() == pytest.approx(expected, rel=0.03)
    kept = (last / halfway) * ratio(last) / ratio(halfway)  # the share of the midpoint's noise
    assert (middle * sample_next).mean().item() == pytest.approx(kept * middle.var().item(), rel=0.05)


def ratio(sigma: float) -> float:
    return sigma / (1 - sigma)
