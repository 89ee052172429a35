"""The options of `acceleratorOptions`, from the wire down to the reused steps: each changes reuse in one direction.

Most decisions are predicted from a trace of the embedded checkpoint. A prediction is exact up to the first reused step,
and wherever the gate alone decides (`tests/accel/calibration/test_recorder.py`). Thresholds are rendered as well.
"""

from typing import Any

import pytest
import torch

from accel.cache.gate import Gate
from accel.calibration.predict import predict_decisions
from accel.calibration.recorder import Recorder
from accel.calibration.traces import Trace
from pipelines.catalog.models_file import load_catalog
from pipelines.latents import grid, noise
from pipelines.models.checkpoint import Checkpoint
from pipelines.render.prepare import begin
from pipelines.render.state import RenderState
from pipelines.render.steps import advance
from pipelines.request import RenderRequest, Sampler
from server.api.runware.schema.objects import AcceleratorOptions
from server.api.runware.translate.caches import ThresholdDirection, cache_plan

SIDE, STEPS = 64, 16
ENTRY = load_catalog().with_embedded_weights().entries[0]
BOTH = pytest.mark.parametrize("direction", ["documented", "library"])

WIDE = {"cacheStartStep": 1, "cacheEndStep": STEPS, "cacheMaxConsecutiveSteps": 5}
# So high a threshold, as documented, that the other options decide.
FREE = {"fbCache": True, "fbCacheThreshold": 0}
RUNS = {"dbCache": True, "cacheMaxConsecutiveSteps": 5}


def ended(trained: Checkpoint, options: dict[str, Any], direction: ThresholdDirection = "documented") -> RenderState:
    plan, _ = cache_plan(AcceleratorOptions.model_validate(options), ENTRY, STEPS, direction)
    state = begin(
        RenderRequest("", "", None, SIDE, SIDE, STEPS, Sampler(), 1.0, 3, cache=plan),
        trained,
        noise=noise(grid(SIDE, SIDE, trained.vae), 16, seed=3),
        cond=torch.randn((1, 9, 128), generator=torch.Generator().manual_seed(1)),
        uncond=None,
    )
    if plan is None:
        state.recorder = Recorder()
    while state.step < state.total:
        advance([state])
    return state


def rendered(trained: Checkpoint, options: dict[str, Any]) -> int:
    state = ended(trained, options)
    assert state.cache is not None
    return state.cache.report().reused_steps


@pytest.fixture(scope="module")
def trace(trained: Checkpoint) -> Trace:
    recorder = ended(trained, {}).recorder
    assert recorder is not None
    return Trace("", 3, STEPS, 1.0, SIDE, SIDE, recorder.observations)


def predicted(trace: Trace, options: dict[str, Any], direction: ThresholdDirection = "documented") -> int:
    plan, _ = cache_plan(AcceleratorOptions.model_validate(options), ENTRY, STEPS, direction)
    if plan is None:
        return 0
    gate = Gate(STEPS, plan.start, plan.end, plan.max_run)
    return sum(
        decision.reused
        for decision in predict_decisions(trace, plan.strategy, plan.threshold, gate, plan.curve)  # pyright: ignore[reportArgumentType]
    )


def rises(counts: list[int]) -> bool:
    return counts == sorted(counts) and counts[0] < counts[-1]


@BOTH
@pytest.mark.parametrize("cache", ["fbCache", "dbCache"])
def test_thresholds(trace: Trace, cache: str, direction: ThresholdDirection) -> None:
    values = (0, 0.1, 0.2, 0.25, 0.3, 0.5, 1)
    counts = [predicted(trace, {cache: True, f"{cache}Threshold": value, **WIDE}, direction) for value in values]
    assert rises(counts[::-1] if direction == "documented" else counts), counts
    assert min(counts) == 0, "nothing is reused at the one end"


@BOTH
def test_teacache_distance(trace: Trace, direction: ThresholdDirection) -> None:
    values = (0, 0.1, 0.3, 0.5, 1)
    counts = [predicted(trace, {"teaCache": True, "teaCacheDistance": value, **WIDE}, direction) for value in values]
    assert rises(counts), counts
    assert counts[0] == 0


@pytest.mark.parametrize(
    ("cache", "option", "values"),
    [
        ("fbCache", "fbCacheThreshold", (1, 0.25, 0)),
        ("dbCache", "dbCacheThreshold", (1, 0.25, 0)),
        ("teaCache", "teaCacheDistance", (0, 0.5, 1)),
    ],
)
def test_thresholds_in_a_render(trained: Checkpoint, cache: str, option: str, values: tuple[float, ...]) -> None:
    counts = [rendered(trained, {cache: True, option: value, **WIDE}) for value in values]
    assert rises(counts), counts
    assert counts[0] == 0


OPTIONS: list[tuple[dict[str, Any], str, tuple[int, ...]]] = [
    (RUNS, "dbCacheSkipInterval", (1, 2, 5)),
    ({"fbCache": True}, "cacheMaxConsecutiveSteps", (1, 2, 3)),
    ({"fbCache": True}, "cacheStartStep", (13, 8, 2)),
    ({"fbCache": True}, "cacheEndStep", (4, 9, 15)),
    ({"fbCache": True}, "cacheStartStepPercentage", (90, 50, 10)),
    ({"fbCache": True}, "cacheEndStepPercentage", (25, 60, 100)),
]


@BOTH
@pytest.mark.parametrize(("base", "option", "values"), OPTIONS, ids=[option for _, option, _ in OPTIONS])
def test_when_reuse_is_allowed(
    trace: Trace, base: dict[str, Any], option: str, values: tuple[int, ...], direction: ThresholdDirection
) -> None:
    counts = [predicted(trace, base | {option: value}, direction) for value in values]
    assert rises(counts), counts


BOUNDS: list[tuple[dict[str, Any], str, tuple[int, ...]]] = [
    (RUNS | WIDE | {"dbCacheThreshold": 0}, "dbCacheSkipInterval", (1, 2, 5)),
    (FREE | WIDE, "cacheMaxConsecutiveSteps", (1, 2, 3, 5)),
    (FREE, "cacheStartStep", (13, 8, 4, 1)),
    (FREE, "cacheEndStep", (5, 8, 11, 16)),
    (FREE, "cacheStartStepPercentage", (80, 50, 20, 0)),
    (FREE, "cacheEndStepPercentage", (40, 60, 80, 100)),
]


@pytest.mark.parametrize(("base", "option", "values"), BOUNDS, ids=[option for _, option, _ in BOUNDS])
def test_where_it_alone_decides(
    trained: Checkpoint, trace: Trace, base: dict[str, Any], option: str, values: tuple[int, ...]
) -> None:
    counts = [predicted(trace, base | {option: value}) for value in values]
    assert rises(counts), counts
    assert rendered(trained, base | {option: values[1]}) == counts[1]
