"""MeanCache against the published schedules, and against a plain loop that follows the paper's formulas."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from accel.cache.plan import CachePlan
from accel.cache.strategies.base import PastForward
from accel.cache.strategies.meancache import MeanCache, from_plan
from pipelines.models.checkpoint import Checkpoint
from pipelines.render.prepare import begin
from pipelines.render.steps import advance
from pipelines.request import RenderRequest, Sampler
from pipelines.sampling.sigmas import flow_sigmas
from tests.accel.cache.strategies.loops import SIDE, render_with_cache, schedule, start, velocity

STEPS = 16
# of 50 steps, as UnicomAI/MeanCache lists them for Qwen-Image-2512
PUBLISHED = {
    0.5: [*range(16), 23, 31, 37, *range(44, 50)],
    0.66: [*range(10), 11, 19, 27, 35, 43, 47, 49],
    0.8: [0, 2, 4, 7, 14, 21, 28, 35, 42, 49],
}


def published_sigmas() -> list[float]:
    scheduler = {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 0.9, "max_image_seq_len": 8192}
    return flow_sigmas(50, 104 * 58, scheduler | {"shift_terminal": 0.02}, "shifted").tolist()


@torch.inference_mode()
def paper_loop(
    checkpoint: Checkpoint, embeds: torch.Tensor, computed: Sequence[int], window: int
) -> tuple[torch.Tensor, str]:
    """v̄ = v_(t−1) − J·(σ_(t+1) − σ_t), J = (v_i − (x_t − x_i) / (σ_t − σ_i)) / (σ_t − σ_i), with i = t − window."""
    sigmas, letters = schedule(checkpoint, STEPS), ""
    x, vs = [start(checkpoint)], list[torch.Tensor]()
    for step, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        if step in computed:
            v, letters = velocity(checkpoint, embeds, x[step], sigma), letters + "C"
        else:
            since = step - min(window, step)
            mean = (x[step] - x[since]) / (sigma - sigmas[since])
            slope = (vs[since] - mean) / (sigma - sigmas[since])
            v, letters = vs[-1] - slope * (sigma_next - sigma), letters + "R"
        vs.append(v)
        x.append(x[step] + v * (sigma_next - sigma))
    return x[-1], letters


@pytest.mark.parametrize("share", PUBLISHED)
def test_at_the_published_steps_and_size_it_is_the_published_schedule(share: float) -> None:
    assert sorted(MeanCache(share).computed_steps(published_sigmas())) == PUBLISHED[share]
    assert len(PUBLISHED[share]) == round(50 * (1 - share))


@pytest.mark.parametrize("window", [1, 2, 5])
def test_it_is_the_loop_of_its_paper(
    trained: Checkpoint, embeds: torch.Tensor, monkeypatch: pytest.MonkeyPatch, window: int
) -> None:
    computed = MeanCache(0.66).computed_steps(schedule(trained, STEPS))
    monkeypatch.setattr(MeanCache, "_windows", lambda self, sigmas: dict.fromkeys(computed, window))
    latents, report = render_with_cache(trained, embeds, CachePlan("meancache", 0.66, 0, STEPS, STEPS), STEPS)
    expected, letters = paper_loop(trained, embeds, sorted(computed), window)
    assert report.patterns["cond"] == letters
    assert 5 <= letters.count("R") <= 11
    assert torch.allclose(latents, expected, atol=2e-3)


def test_each_gap_has_its_own_window() -> None:
    windows = MeanCache(0.66)._windows(published_sigmas())
    assert {step: window for step, window in windows.items() if window > 1} == {9: 2, 43: 5, 47: 5}


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 50))
def test_a_higher_threshold_never_computes_more(one: float, other: float, steps: int) -> None:
    sigmas = published_sigmas()[50 - steps :]
    lower, higher = [MeanCache(threshold).computed_steps(sigmas) for threshold in sorted((one, other))]
    assert len(lower) >= len(higher)
    assert lower <= set(range(steps))
    assert steps == 0 or 0 in higher
    assert MeanCache(0.49).computed_steps(sigmas) == set(range(steps))


def test_a_window_of_one_forward_reuses_the_last_velocity() -> None:
    last = PastForward(0, torch.zeros(1, 2, 3), torch.full((1, 2, 3), 7.0))
    assert torch.equal(MeanCache(0.8).predict(1, last.signal, [last], [1.0, 0.9, 0.8, 0.0]), last.value)


def test_the_score_is_below_every_threshold_except_zero() -> None:
    strategy = from_plan(CachePlan("meancache", 0.5, 0, 9, 9), 9, 6)
    assert strategy == MeanCache(0.5)
    assert strategy.score(0.0, 0.0, 0.5) == 0.0


def test_nothing_waits_for_the_device(
    trained: Checkpoint, embeds: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = begin(
        RenderRequest("", "", None, SIDE, SIDE, 12, Sampler(), 4.0, 3, cache=CachePlan("meancache", 0.8, 0, 12, 9)),
        trained,
        noise=start(trained),
        cond=embeds,
        uncond=embeds[:, :4],
    )
    for name in ("tolist", "item", "cpu", "__bool__", "__float__"):
        monkeypatch.setattr(torch.Tensor, name, lambda *_, name=name: pytest.fail(name))
    while state.step < 9:
        advance([state])
    monkeypatch.undo()
    assert state.cache is not None
    assert state.cache.report().reused_steps >= 3
