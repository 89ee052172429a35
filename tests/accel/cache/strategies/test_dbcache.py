from typing import Any

import pytest
import torch

from accel.cache.plan import CachePlan
from accel.cache.strategies.base import PastForward
from accel.cache.strategies.dbcache import DBCache, from_plan
from tests.accel.inputs import evaluate, make_inputs, make_session


@torch.inference_mode()
def test_the_distance_is_the_relative_change_of_the_front_blocks_residual(transformer: Any) -> None:
    session, residuals = make_session(DBCache(0.0, front=2)), []
    for step, inputs in enumerate((make_inputs(0.5, references=True), make_inputs(0.4, moved=0.2, references=True))):
        evaluate(session, transformer, inputs, step)
        runner = inputs.runner(transformer)
        start = runner.image[:, :12]
        runner.run_to(2)
        residuals.append(runner.image[:, :12] - start)
    expected = (residuals[1] - residuals[0]).abs().mean() / residuals[0].abs().mean()
    first, second = session.report().decisions
    assert first.distance is None
    assert second.distance == pytest.approx(float(expected), rel=1e-6)


def test_it_compares_with_the_last_computed_step(transformer: Any) -> None:
    session = make_session(DBCache(1e9, front=1))
    for step in range(4):
        evaluate(session, transformer, make_inputs(moved=0.02 * step), step)
    distances = [decision.distance for decision in session.report().decisions[1:]]
    assert distances == sorted(set(distances), key=lambda distance: distance or 0.0)
    assert [decision.score for decision in session.report().decisions[1:]] == distances


@pytest.mark.parametrize(
    ("steps", "step", "expected"),
    [
        ([4], 5, 8.0),  # one computed step is no line
        ([3, 4], 5, 11.0),
        ([2, 4], 5, 9.5),
        ([1, 4], 5, 8.0),  # the gap is too wide
        ([3, 4], 6, 8.0),  # the second reused step of a run
    ],
)
def test_only_the_first_reused_residual_after_close_steps_is_extrapolated(
    steps: list[int], step: int, expected: float
) -> None:
    values = [5.0, 8.0][-len(steps) :]
    history = [
        PastForward(each, torch.zeros(1), torch.tensor([value])) for each, value in zip(steps, values, strict=True)
    ]
    assert DBCache(1.0, 1, history_length=2).predict(step, torch.zeros(1), history, ()) == pytest.approx(expected)


@pytest.mark.parametrize(("depth", "front"), [(1, 1), (6, 1), (13, 2), (60, 8)])
def test_the_front_is_the_same_share_of_any_depth(depth: int, front: int) -> None:
    plan = CachePlan("dbcache", 0.25, 3, 18, 3)
    assert from_plan(plan, 20, depth) == DBCache(0.25, front=front)


def test_extrapolation_keeps_two_forwards() -> None:
    assert from_plan(CachePlan("dbcache", 0.25, 3, 18, 3, extrapolate=True), 20, 60).history_length == 2
