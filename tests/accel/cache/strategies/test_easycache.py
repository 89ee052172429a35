"""EasyCache against a plain loop that follows the paper's formulas, on the embedded checkpoint."""

from itertools import pairwise

import pytest
import torch

from accel.cache.plan import CachePlan
from accel.cache.strategies.base import PastForward
from accel.cache.strategies.easycache import EasyCache, from_plan
from pipelines.models.checkpoint import Checkpoint
from tests.accel.cache.strategies.loops import allowed, l1, render_with_cache, schedule, start, velocity

STEPS = 16


@torch.inference_mode()
def paper_loop(checkpoint: Checkpoint, embeds: torch.Tensor, plan: CachePlan) -> tuple[torch.Tensor, str]:
    """ε = k·|x_t − x_(t−1)| / |v_a| adds up, k = |v_a − v_b| / |x_a − x_b|; v ≈ x + v_a − x_a; a and b are computed."""
    x, letters, total = start(checkpoint), "", 0.0
    computed: list[tuple[torch.Tensor, torch.Tensor]] = []
    last = x
    for step, (sigma, sigma_next) in enumerate(pairwise(schedule(checkpoint, STEPS))):
        if len(computed) > 1:
            (xb, vb), (xa, va) = computed[-2:]
            total += l1(va - vb) / l1(xa - xb) * l1(x - last) / l1(va)
        if len(computed) > 1 and allowed(plan, STEPS, step, letters) and total < plan.threshold:
            v, letters = x + computed[-1][1] - computed[-1][0], letters + "R"
        else:
            v, letters, total = velocity(checkpoint, embeds, x, sigma), letters + "C", 0.0
            computed.append((x, v))
        last, x = x, x + v * (sigma_next - sigma)
    return x, letters


@pytest.mark.parametrize("plan", [CachePlan("easycache", 0.15, 2, 14, 3), CachePlan("easycache", 0.2, 0, 16, 2)])
def test_it_is_the_loop_of_its_paper(trained: Checkpoint, embeds: torch.Tensor, plan: CachePlan) -> None:
    latents, report = render_with_cache(trained, embeds, plan, STEPS)
    expected, letters = paper_loop(trained, embeds, plan)
    assert report.patterns["cond"] == letters
    assert 3 <= letters.count("R") <= 11
    assert torch.allclose(latents, expected, atol=2e-4)


def test_one_past_forward_gives_no_distance() -> None:
    once = PastForward(0, torch.ones(1, 2, 3), torch.ones(1, 2, 3))
    assert EasyCache(1.0).distance(once.signal, once.signal, [once]) is None


def test_the_distance_of_two_equal_forwards_is_not_a_number() -> None:
    once = PastForward(0, torch.ones(1, 2, 3), torch.ones(1, 2, 3))
    distance = EasyCache(1.0).distance(once.signal, once.signal, [once, once])
    assert distance is not None
    assert distance.isnan()


def test_the_distance_and_the_prediction_of_known_numbers() -> None:
    def forward(latents: float, output: float) -> PastForward:
        return PastForward(0, torch.full((1, 2, 3), latents), torch.full((1, 2, 3), output))

    history = [forward(1.0, 10.0), forward(3.0, 16.0)]  # the output changes 3 times as much as the latents
    now, last = torch.full((1, 2, 3), 5.0), torch.full((1, 2, 3), 4.0)
    distance = EasyCache(1.0).distance(now, last, history)
    assert distance == pytest.approx(3 * 1 / 16)
    assert torch.equal(EasyCache(1.0).predict(2, now, history, ()), now + (16.0 - 3.0))


def test_changes_add_up() -> None:
    strategy = from_plan(CachePlan("easycache", 0.05, 0, 9, 3), 9, 6)
    assert strategy == EasyCache(0.05)
    assert strategy.score(0.25, 0.5, 1.0) == 0.75
