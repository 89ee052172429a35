"""DiCache against a plain loop that follows the paper's formulas, on the embedded checkpoint."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from accel.cache.plan import CachePlan
from accel.cache.strategies.base import PastForward
from accel.cache.strategies.dicache import DiCache, from_plan
from pipelines.models.checkpoint import Checkpoint
from tests.accel.cache.strategies.loops import allowed, l1, make_runner, render_with_cache, schedule, start

STEPS = 16


@torch.inference_mode()
def paper_loop(checkpoint: Checkpoint, embeds: torch.Tensor, plan: CachePlan) -> tuple[torch.Tensor, str]:
    """The relative change of h_1 adds up; h_N ≈ h_0 + R_b + γ (R_a − R_b), γ = |p − p_b| / |p_a − p_b| in 1 to 1.5."""
    x, letters, total = start(checkpoint), "", 0.0
    computed: list[tuple[torch.Tensor, torch.Tensor]] = []
    last: torch.Tensor | None = None
    for step, (sigma, sigma_next) in enumerate(pairwise(schedule(checkpoint, STEPS))):
        runner = make_runner(checkpoint, embeds, x, sigma)
        before = runner.image
        runner.run_to(1)
        first = runner.image
        total += l1(first - last) / l1(last) if last is not None else 0.0
        if last is not None and allowed(plan, STEPS, step, letters) and total < plan.threshold:
            residual, letters = computed[-1][1], letters + "R"
            if len(computed) > 1:
                (pb, rb), (pa, ra) = computed[-2:]
                gamma = min(max(l1(first - before - pb) / l1(pa - pb), 1.0), 1.5)
                residual = rb + gamma * (ra - rb)
            runner.skip_to(runner.depth, before + residual)
        else:
            runner.run_to(runner.depth)
            letters, total = letters + "C", 0.0
            computed.append((first - before, runner.image - before))
        last, x = first, x + runner.output() * (sigma_next - sigma)
    return x, letters


@pytest.mark.parametrize("plan", [CachePlan("dicache", 0.2, 2, 14, 3), CachePlan("dicache", 0.3, 0, 16, 2)])
def test_it_is_the_loop_of_its_paper(trained: Checkpoint, embeds: torch.Tensor, plan: CachePlan) -> None:
    latents, report = render_with_cache(trained, embeds, plan, STEPS)
    expected, letters = paper_loop(trained, embeds, plan)
    assert report.patterns["cond"] == letters
    assert 3 <= letters.count("R") <= 11
    assert torch.allclose(latents, expected, atol=2e-4)


def past_forward(probe: float, value: float) -> PastForward:
    image, residual = torch.zeros(1, 2, 3), torch.full((1, 2, 3), probe)
    return PastForward(0, torch.cat([image, residual]), torch.full((1, 2, 3), value))


def test_one_past_forward_is_reused_as_it_is() -> None:
    once = past_forward(2.0, 7.0)
    predicted = DiCache(1.0).predict(1, past_forward(3.0, 0).signal, [once], ())
    assert torch.equal(predicted, torch.full((1, 2, 3), 2.0 + 7.0 - 3.0))


def test_two_equal_past_forwards_are_reused_as_they_are() -> None:
    once = past_forward(2.0, 7.0)
    assert torch.equal(DiCache(1.0).predict(1, once.signal, [once, once], ()), once.value)


@given(st.floats(-100, 100))
def test_gamma_stays_within_its_limits(probe: float) -> None:
    history = [past_forward(1, 9), past_forward(2, 18)]
    residual = DiCache(1.0).predict(2, past_forward(probe, 0).signal, history, ()) + probe
    assert ((residual >= 20 - 1e-4) & (residual <= 25 + 1e-4)).all()  # R_b = 10 and R_a = 20, γ from 1 to 1.5


def test_the_distance_is_that_of_the_image_and_changes_add_up() -> None:
    def signal(image: float, residual: float) -> torch.Tensor:
        return torch.cat([torch.full((1, 2, 3), image), torch.full((1, 2, 3), residual)])

    strategy = from_plan(CachePlan("dicache", 0.4, 0, 9, 3), 9, 6)
    assert strategy == DiCache(0.4)
    assert strategy.distance(signal(3.0, 5.0), signal(2.0, 9.0), []) == pytest.approx(0.5)
    assert strategy.score(0.25, 0.5, 1.0) == 0.75
