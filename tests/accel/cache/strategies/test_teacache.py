from typing import Any

import pytest
import torch

from accel.cache.curves import Polynomial
from accel.cache.plan import CachePlan
from accel.cache.profile import load_profile
from accel.cache.strategies.teacache import TeaCache, from_plan
from tests.accel.inputs import IDENTITY, evaluate, make_inputs, make_session


def test_the_signal_is_the_modulated_input_and_runs_no_block(transformer: Any) -> None:
    runner = make_inputs().runner(transformer)
    assert torch.equal(TeaCache(1.0, IDENTITY).signal(runner), runner.modulated_input())
    assert runner.position == 0


def test_it_compares_with_the_last_step(transformer: Any) -> None:
    session = make_session(TeaCache(1e9, IDENTITY))
    for step in range(4):
        evaluate(session, transformer, make_inputs(moved=0.02 * step), step)
    distances = [decision.distance or 0.0 for decision in session.report().decisions[1:]]
    assert max(distances) < 1.2 * min(distances)


def test_it_adds_up_and_starts_again_after_a_computed_step(transformer: Any) -> None:
    probe = make_session(TeaCache(0.0, IDENTITY))
    for step in range(2):
        evaluate(probe, transformer, make_inputs(moved=0.02 * step), step)
    once = probe.report().decisions[1].distance or 0.0
    session = make_session(TeaCache(2.5 * once, IDENTITY))
    for step in range(7):
        evaluate(session, transformer, make_inputs(moved=0.02 * step), step)
    assert session.report().patterns == {"cond": "CRRCRRC"}
    scores = [decision.score for decision in session.report().decisions[1:4]]
    assert scores == pytest.approx([once, 2 * once, 3 * once], rel=0.1)


def test_it_decides_once_for_both_branches(transformer: Any) -> None:
    session = make_session(TeaCache(0.05, IDENTITY))
    for step in range(8):
        evaluate(session, transformer, make_inputs(moved=0.02 * step), step, "cond", "uncond")
    decisions = session.report().decisions
    assert {decision.reused for decision in decisions} == {True, False}
    for cond, uncond in zip(decisions[::2], decisions[1::2], strict=True):
        assert (cond.reason, cond.distance, cond.score) == (uncond.reason, uncond.distance, uncond.score)


def test_the_curve_rescales_each_change() -> None:
    assert TeaCache(1.0, Polynomial((3.0, 0.0), 1.0)).score(0.25, 0.5, 0.9) == 1.25


def test_a_curve_in_the_plan_goes_before_its_profile() -> None:
    plan = CachePlan("teacache", 0.3, 3, 18, 3, profile="embedded", curve=IDENTITY)
    assert from_plan(plan, 20, 6) == TeaCache(0.3, IDENTITY)


@pytest.mark.parametrize(("steps", "measured"), [(20, 20), (50, 50)])
def test_the_curve_of_a_profile_is_that_of_the_nearest_steps(steps: int, measured: int) -> None:
    plan = CachePlan("teacache", 0.3, 3, 18, 3, profile="qwen_image")
    fit = next(fit for fit in load_profile("qwen_image").fits if fit.steps == measured)
    assert from_plan(plan, steps, 60) == TeaCache(0.3, fit.curve)


def test_a_plan_without_curve_and_profile_is_refused() -> None:
    with pytest.raises(ValueError, match="TeaCache needs a curve or a profile"):
        from_plan(CachePlan("teacache", 0.3, 3, 18, 3), 20, 6)
