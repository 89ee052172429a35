"""What the recorder notes and what a replay makes of it, against real renders of the same pictures."""

from dataclasses import replace

import pytest
import torch

from accel.cache.gate import Gate
from accel.cache.plan import CacheName, CachePlan
from accel.cache.profile import load_profile
from accel.cache.report import Decision
from accel.calibration.predict import TracedStrategy, predict_decisions
from accel.calibration.recorder import Recorder
from accel.calibration.traces import LAGS, Trace
from pipelines.catalog.catalog import load_catalog
from pipelines.models.loader import Checkpoint
from pipelines.render import RenderState, advance, prepare
from pipelines.request import RenderRequest, Sampler, SolverName
from tests.control import deeper

ENTRY = load_catalog().with_embedded_weights().entries[0]
SMALL = replace(ENTRY, native_area=None)
STEPS = 20
CURVE = load_profile("embedded").nearest_fit(STEPS).curve
STRATEGIES: tuple[CacheName, ...] = ("fbcache", "dbcache", "teacache")


def begun(
    model: Checkpoint, seed: int, steps: int, plan: CachePlan | None = None, sampler: SolverName = "euler"
) -> RenderState:
    prompt = "a large red circle at the top left on a blue background"
    request = RenderRequest("", prompt, None, 64, 64, steps, Sampler(sampler), 4.0, seed, cache=plan)
    return prepare(request, 0, model, SMALL)


def ended(state: RenderState) -> torch.Tensor:
    while state.step < state.total:
        advance([state])
    return state.latents


def recorded(model: Checkpoint, seed: int, steps: int, sampler: SolverName = "euler") -> Trace:
    state = begun(model, seed, steps, sampler=sampler)
    recorder = state.recorder = Recorder()
    ended(state)
    return Trace("", seed, steps, 4.0, 64, 64, recorder.observations)


@pytest.fixture(scope="module")
def trace(trained: Checkpoint) -> Trace:
    return recorded(trained, 5, STEPS)


def decided(model: Checkpoint, plan: CachePlan, seed: int, steps: int = STEPS) -> tuple[Decision, ...]:
    state = begun(model, seed, steps, plan)
    ended(state)
    assert state.cache is not None
    return state.cache.report().decisions


def plan_of(strategy: CacheName, threshold: float, start: int = 3, max_run: int = 3) -> CachePlan:
    curve = CURVE if strategy == "teacache" else None
    return CachePlan(strategy, threshold, start, STEPS - 2, max_run, curve=curve)


def replayed(trace: Trace, plan: CachePlan) -> list[Decision]:
    strategies: dict[CacheName, TracedStrategy] = {"fbcache": "fbcache", "dbcache": "dbcache", "teacache": "teacache"}
    gate = Gate(trace.steps, plan.start, plan.end, plan.max_run)
    return predict_decisions(trace, strategies[plan.strategy], plan.threshold, gate, plan.curve)


def test_recording_leaves_the_picture_as_it_is(checkpoint: Checkpoint) -> None:
    state = begun(checkpoint, 1, 4)
    state.recorder = Recorder()
    assert torch.equal(ended(state), ended(begun(checkpoint, 1, 4)))


@pytest.mark.parametrize(("depth", "fronts"), [(2, 0), (13, 3)])
def test_each_forward_is_noted_against_the_steps_before(checkpoint: Checkpoint, depth: int, fronts: int) -> None:
    seen = recorded(deeper(checkpoint, depth), 1, 8).observations
    assert [(each.step, each.branch) for each in seen] == [(s, b) for s in range(8) for b in ("cond", "uncond")]
    for each in seen:
        assert len(each.first) == min(each.step, LAGS)
        assert len(each.front) == (min(each.step, LAGS) if fronts else 0)
        assert (each.input is None) == (each.residual is None) == (each.output is None) == (each.step == 0)
    sigmas = [each.sigma for each in seen[::2]]
    assert sigmas == sorted(sigmas, reverse=True)
    assert sigmas[0] == 1.0


def test_the_two_forwards_of_a_heun_step_are_told_apart(checkpoint: Checkpoint) -> None:
    seen = recorded(checkpoint, 1, 4, "heun").observations
    assert {(each.step, each.evaluation) for each in seen} == {(s, e) for s in range(4) for e in (0, 1)} - {(3, 1)}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_where_nothing_is_reused_a_replay_is_exact(trained: Checkpoint, trace: Trace, strategy: CacheName) -> None:
    plan = plan_of(strategy, 0.0)
    for real, foretold in zip(decided(trained, plan, 5), replayed(trace, plan), strict=True):
        assert replace(foretold, distance=None, score=None) == replace(real, distance=None, score=None)
        for one, other in ((foretold.distance, real.distance), (foretold.score, real.score)):
            assert one == (None if other is None else pytest.approx(other, rel=1e-5))


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("max_run", [1, 5])
def test_where_the_gate_alone_decides_a_replay_is_exact(
    trained: Checkpoint, trace: Trace, strategy: CacheName, max_run: int
) -> None:
    plan = plan_of(strategy, 1e9, max_run=max_run)
    real, foretold = decided(trained, plan, 5), replayed(trace, plan)
    assert [each.reason for each in foretold] == [each.reason for each in real]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("threshold", [0.2, 0.4])
def test_a_replay_is_exact_up_to_the_first_reused_step_and_close_behind_it(
    trained: Checkpoint, trace: Trace, strategy: CacheName, threshold: float
) -> None:
    plan = plan_of(strategy, threshold)
    real, foretold = decided(trained, plan, 5), replayed(trace, plan)
    first = next(number for number, each in enumerate(real) if each.reused)
    assert [each.reason for each in foretold[: first + 1]] == [each.reason for each in real[: first + 1]]
    alike = sum(one.reused == other.reused for one, other in zip(real, foretold, strict=True))
    assert alike >= 0.75 * len(real)


@pytest.mark.parametrize("strategy", ["fbcache", "teacache"])
def test_a_higher_threshold_never_foretells_less_reuse(trace: Trace, strategy: CacheName) -> None:
    counts = [sum(d.reused for d in replayed(trace, plan_of(strategy, t / 20))) for t in (0, 2, 5, 8, 12, 200)]
    assert counts[0] == 0
    assert counts == sorted(counts)
    assert counts[-1] > counts[1]


def test_what_a_trace_cannot_tell(trace: Trace) -> None:
    with pytest.raises(ValueError, match="max_run"):
        predict_decisions(trace, "fbcache", 0.1, Gate(STEPS, 3, 18, LAGS + 1))
    gate = Gate(STEPS, 3, 18, 3)
    with pytest.raises(ValueError, match="curve: required for teacache"):
        predict_decisions(trace, "teacache", 0.1, gate)
    with pytest.raises(ValueError, match="not allowed for other strategies"):
        predict_decisions(trace, "fbcache", 0.1, gate, CURVE)


def test_what_is_no_number_ends_the_recording(checkpoint: Checkpoint) -> None:
    state = begun(checkpoint, 1, 4)
    state.recorder = Recorder()
    advance([state])
    state.latents = state.latents * float("nan")
    with pytest.raises(FloatingPointError, match="NaN or infinity"):
        advance([state])
