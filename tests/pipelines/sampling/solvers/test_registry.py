"""Properties of every solver on every schedule."""

from collections.abc import Iterator
from itertools import combinations, product
from typing import get_args

import pytest
import torch

from benchmarks.step_caches.host_syncs import HostSyncCounter
from pipelines.latents import step_noise
from pipelines.request import Sampler, ScheduleName, SolverName
from pipelines.sampling.sigmas import flow_sigmas
from pipelines.sampling.solvers.registry import SOLVERS, make_solver
from tests.pipelines.sampling.solvers.flows import OWN, Gaussian, solve, steps_of
from tests.pipelines.sampling.test_sigmas import QWEN

NAMES: tuple[SolverName, ...] = get_args(SolverName)
FLOW = Gaussian()


def sigmas_of(schedules: tuple[ScheduleName, ...]) -> Iterator[torch.Tensor]:
    """Few and many steps, from pure noise and from a lower sigma, as image to image has it."""
    for schedule, (steps, skipped) in product(schedules, ((1, 0), (2, 0), (2, 1), (6, 0), (6, 3))):
        yield flow_sigmas(steps, 64, QWEN, schedule)[skipped:]
    for schedule in ("shifted", "uniform_karras"):
        yield flow_sigmas(20, 64, QWEN, schedule)


@pytest.mark.parametrize(
    ("dtype", "schedules"),
    [(torch.float32, get_args(ScheduleName)), (torch.bfloat16, ("shifted", "uniform_karras"))],
    ids=["float32", "bfloat16"],
)
@pytest.mark.parametrize("name", NAMES)
def test_every_schedule_ends_finite_and_near_the_data(
    name: SolverName, dtype: torch.dtype, schedules: tuple[ScheduleName, ...]
) -> None:
    for number, sigmas in enumerate(sigmas_of(schedules)):
        solver = make_solver(Sampler(name), step_noise(number))
        start = FLOW.at(sigmas[0].item(), step_noise(1)(torch.zeros(1, 3, 4))).to(dtype)
        end = solve(solver, FLOW.velocity, start, sigmas)[-1]
        assert end.dtype == dtype
        assert (end.float() - FLOW.mean).abs().max() < 12 * FLOW.spread, sigmas  # also false if not finite


def test_every_name_has_a_solver() -> None:
    assert set(SOLVERS) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_two_images_share_no_memory(name: SolverName) -> None:
    starts, sigmas = torch.randn(2, 1, 4, 8), [OWN, flow_sigmas(19, 64, QWEN, "karras")]

    def solved_alone(number: int) -> torch.Tensor:
        return solve(make_solver(Sampler(name), step_noise(number)), FLOW.velocity, starts[number], sigmas[number])[-1]

    alone = [solved_alone(0), solved_alone(1)]
    solvers, samples = [make_solver(Sampler(name), step_noise(number)) for number in range(2)], list(starts)
    for steps in zip(*(steps_of(each) for each in sigmas), strict=True):
        for number, (sigma, sigma_next) in enumerate(steps):
            samples[number] = solvers[number].step(FLOW.velocity, samples[number], sigma, sigma_next)
    assert torch.equal(samples[0], alone[0])
    assert torch.equal(samples[1], alone[1])


@pytest.mark.parametrize("name", NAMES)
def test_only_stochastic_ones_draw_noise(name: SolverName) -> None:
    sampler, start = Sampler(name), torch.randn(1, 4, 8)
    first, other = (solve(make_solver(sampler, step_noise(seed)), FLOW.velocity, start, OWN)[-1] for seed in (1, 2))
    assert torch.equal(first, other) != sampler.stochastic


@pytest.mark.parametrize("name", NAMES)
def test_no_step_waits_for_the_device(name: SolverName) -> None:
    sample, solver = torch.randn(1, 4, 8), make_solver(Sampler(name), step_noise(1))
    steps = list(steps_of(flow_sigmas(7, 64, QWEN, "shifted")))
    with HostSyncCounter() as syncs:
        for sigma, sigma_next in steps:
            sample = solver.step(lambda sample, sigma: sample * sigma, sample, sigma, sigma_next)
    assert syncs.count == 0


def test_no_two_names_are_one_method() -> None:
    start = torch.linspace(-1, 1, 8)[None, :, None]
    ends = {name: solve(make_solver(Sampler(name), step_noise(1)), FLOW.velocity, start, OWN)[-1] for name in NAMES}
    same = [pair for pair in combinations(NAMES, 2) if torch.equal(ends[pair[0]], ends[pair[1]])]
    assert same == []
