"""Predictions from a trace against real renders of the same image, and on made-up traces."""

from dataclasses import replace

import pytest

from accel.cache.curves import Polynomial
from accel.cache.gate import Gate
from accel.cache.plan import CachePlan
from accel.cache.profile import load_profile
from accel.cache.report import Decision
from accel.calibration.predict import TracedStrategy, predict_decisions
from accel.calibration.traces import LAGS, Observation, Trace
from pipelines.models.checkpoint import Checkpoint
from tests.accel.calibration.renders import real_decisions, record_trace

STEPS, SEED = 11, 5
CURVE = load_profile("embedded").nearest_fit(STEPS).curve
STRATEGIES: tuple[TracedStrategy, ...] = ("fbcache", "dbcache", "teacache")


@pytest.fixture(scope="module")
def trace(trained: Checkpoint) -> Trace:
    return record_trace(trained, SEED, STEPS)


def predict_and_render(
    trained: Checkpoint, trace: Trace, strategy: TracedStrategy, threshold: float, max_run: int = 3
) -> tuple[list[Decision], tuple[Decision, ...]]:
    curve = CURVE if strategy == "teacache" else None
    plan = CachePlan(strategy, threshold, 3, STEPS - 2, max_run, curve=curve)
    return predict(trace, strategy, threshold, max_run), real_decisions(trained, plan, SEED, STEPS)


def predict(trace: Trace, strategy: TracedStrategy, threshold: float, max_run: int = 3) -> list[Decision]:
    gate = Gate(trace.steps, 3, STEPS - 2, max_run)
    return predict_decisions(trace, strategy, threshold, gate, CURVE if strategy == "teacache" else None)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_where_nothing_is_reused_a_prediction_is_exact(
    trained: Checkpoint, trace: Trace, strategy: TracedStrategy
) -> None:
    for predicted, real in zip(*predict_and_render(trained, trace, strategy, 0.0), strict=True):
        assert replace(predicted, distance=None, score=None) == replace(real, distance=None, score=None)
        for one, other in ((predicted.distance, real.distance), (predicted.score, real.score)):
            assert one == (None if other is None else pytest.approx(other, rel=1e-5))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("max_run", [1, pytest.param(5, marks=pytest.mark.slow)])
def test_where_the_gate_alone_decides_a_prediction_is_exact(
    trained: Checkpoint, trace: Trace, strategy: TracedStrategy, max_run: int
) -> None:
    predicted, real = predict_and_render(trained, trace, strategy, 1e9, max_run)
    assert [each.reason for each in predicted] == [each.reason for each in real]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("threshold", [0.2, pytest.param(0.4, marks=pytest.mark.slow)])
def test_a_prediction_is_exact_up_to_the_first_reused_step_and_close_after_it(
    trained: Checkpoint, trace: Trace, strategy: TracedStrategy, threshold: float
) -> None:
    predicted, real = predict_and_render(trained, trace, strategy, threshold)
    first = next(number for number, each in enumerate(real) if each.reused)
    assert [each.reason for each in predicted[: first + 1]] == [each.reason for each in real[: first + 1]]
    alike = sum(one.reused == other.reused for one, other in zip(real, predicted, strict=True))
    assert alike >= 0.75 * len(real)


@pytest.mark.parametrize("strategy", ["fbcache", "teacache"])
def test_a_higher_threshold_never_predicts_less_reuse(trace: Trace, strategy: TracedStrategy) -> None:
    counts = [sum(each.reused for each in predict(trace, strategy, t / 20)) for t in (0, 2, 5, 8, 12, 200)]
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert counts[-1] > counts[1]


def made_up(front: bool = False) -> Trace:
    """Each step changes TeaCache's input by 0.1, and a first block's residual by 0.1 for each step of the lag."""
    observations = [
        Observation(
            step,
            0,
            "cond",
            1 - step / 8,
            None if step == 0 else 0.1,
            None,
            None,
            tuple(0.1 * (lag + 1) for lag in range(min(step, LAGS))),
            tuple(0.2 * (lag + 1) for lag in range(min(step, LAGS))) if front else (),
        )
        for step in range(8)
    ]
    return Trace("", 0, 8, 1.0, 64, 64, tuple(observations))


OPEN = Gate(8, 0, 8, LAGS)


def pattern(decisions: list[Decision]) -> str:
    return "".join("R" if decision.reused else "C" for decision in decisions)


def test_distances_count_from_the_last_computed_step() -> None:
    decisions = predict_decisions(made_up(), "fbcache", 0.25, OPEN)
    assert pattern(decisions) == "CRRCRRCC"
    assert [each.distance for each in decisions[1:4]] == pytest.approx([0.1, 0.2, 0.3])


def test_dbcache_reads_the_front_blocks_where_they_are_recorded() -> None:
    assert pattern(predict_decisions(made_up(), "dbcache", 0.25, OPEN)) == "CRRCRRCC"
    assert pattern(predict_decisions(made_up(front=True), "dbcache", 0.25, OPEN)) == "CRCRCRCC"


def test_rescaled_changes_add_up_and_beyond_the_curve_a_step_is_computed() -> None:
    double = Polynomial((2.0, 0.0), max_distance=0.5)
    decisions = predict_decisions(made_up(), "teacache", 0.5, OPEN, double)
    assert pattern(decisions) == "CRRCRRCC"
    assert [each.score for each in decisions[1:4]] == pytest.approx([0.2, 0.4, 0.6])
    beyond = predict_decisions(made_up(), "teacache", 0.5, OPEN, replace(double, max_distance=0.05))
    assert pattern(beyond) == "CCCCCCCC"
    assert [each.score for each in beyond] == [None] * 8, "infinity is no number of JSON"


def test_a_branch_without_earlier_steps_is_computed() -> None:
    trace = made_up()
    late = replace(trace, observations=tuple(replace(each, branch="uncond") for each in trace.observations[2:]))
    assert [each.reason for each in predict_decisions(late, "fbcache", 0.25, OPEN)][:2] == ["no_memory", "reuse"]


def test_what_a_trace_does_not_cover_is_refused() -> None:
    with pytest.raises(ValueError, match="max_run: 6; a trace covers runs of at most 5"):
        predict_decisions(made_up(), "fbcache", 0.1, replace(OPEN, max_run=LAGS + 1))
    with pytest.raises(ValueError, match="curve: required for teacache"):
        predict_decisions(made_up(), "teacache", 0.1, OPEN)
    with pytest.raises(ValueError, match="not allowed for other strategies"):
        predict_decisions(made_up(), "fbcache", 0.1, OPEN, CURVE)
