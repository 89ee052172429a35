"""What each of the twelve options does, down to the number of steps that are reused."""

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from accel.cache.gate import Gate
from accel.cache.plan import CachePlan
from accel.cache.profile import Recipe, load_profile, write_profile
from accel.cache.report import CacheReport, Decision
from pipelines.catalog.catalog import Catalog
from pipelines.catalog.models_file import load_catalog
from server.api.cache_reports import cache_json
from server.api.runware.schema.objects import AcceleratorOptions
from server.api.runware.translate.caches import (
    CACHES,
    ThresholdDirection,
    cache_plan,
    cache_window,
    residual_threshold,
)
from server.app import create_app
from server.settings import Settings
from server.tasks.plain.cache_choice import LEAST_STEPS
from tests.fakes import FakeWorker
from tests.server.conftest import new_task, post

CATALOG = load_catalog()
REAL, EDIT = CATALOG.entries[:2]
EMBEDDED = CATALOG.with_embedded_weights().entries[0]
DIRECTIONS: tuple[ThresholdDirection, ...] = get_args(ThresholdDirection)
WIRE = st.integers(0, 100).map(lambda hundredths: hundredths / 100)


def options(**given: Any) -> AcceleratorOptions:
    return AcceleratorOptions.model_validate(given)


def planned(executed: Any = 20, direction: Any = "documented", **given: Any) -> CachePlan | None:
    return cache_plan(options(**given), REAL, executed, direction)[0]


def said(executed: Any = 20, **given: Any) -> tuple[str, ...]:
    return cache_plan(options(**given), REAL, executed, "documented")[1]


def test_no_cache_is_no_plan() -> None:
    assert planned() is None
    assert planned(fbCache=False, teaCache=False, dbCache=False) is None
    assert said() == ()


def test_the_defaults() -> None:
    assert planned(fbCache=True) == CachePlan("fbcache", 0.25, start=3, end=18, max_run=3)
    assert planned(dbCache=True) == CachePlan("dbcache", 0.25, start=3, end=18, max_run=3)
    curve = load_profile("qwen_image").nearest_fit(20).curve
    assert planned(teaCache=True) == CachePlan("teacache", 0.3, 3, 18, 3, profile="qwen_image", curve=curve)
    assert planned(executed=50, fbCache=True) == CachePlan("fbcache", 0.25, start=4, end=49, max_run=3)
    assert said(fbCache=True) == said(executed=50, teaCache=True) == ()


@pytest.mark.parametrize("cache", ["fbCache", "dbCache"])
@pytest.mark.parametrize(("direction", "sign"), [("documented", -1), ("library", 1)])
def test_thresholds_count_as_the_server_is_told(cache: str, direction: ThresholdDirection, sign: int) -> None:
    found = [
        planned(direction=direction, **{cache: True, f"{cache}Threshold": value / 100}) for value in range(0, 101, 5)
    ]
    thresholds = [plan.threshold * sign for plan in found if plan]
    assert len(thresholds) == 21
    assert all(low < high for low, high in pairwise(thresholds))


@given(WIRE, WIRE, st.sampled_from(DIRECTIONS))
def test_the_direction_function(one: float, other: float, direction: ThresholdDirection) -> None:
    values = residual_threshold(one, direction), residual_threshold(other, direction)
    assert all(0 <= value <= 1 for value in values)
    falls = direction == "documented"
    assert (one < other) == (values[0] > values[1] if falls else values[0] < values[1])


def test_both_directions_agree_on_the_default_and_documented_ends_in_no_reuse() -> None:
    assert residual_threshold(0.25, "documented") == pytest.approx(residual_threshold(0.25, "library"))
    assert residual_threshold(1, "documented") == 0
    assert residual_threshold(0, "library") == 0


def test_teacache_distance() -> None:
    thresholds = [plan.threshold for d in (0, 0.5, 1) if (plan := planned(teaCache=True, teaCacheDistance=d))]
    assert thresholds == pytest.approx([0, 0.3, 0.6])


@pytest.mark.parametrize(("most", "interval", "run"), [(3, 5, 3), (5, 5, 5), (5, 1, 1), (2, 100, 2), (4, 3, 3)])
def test_the_skip_interval_caps_the_run_of_dbcache_only(most: int, interval: int, run: int) -> None:
    given = {"cacheMaxConsecutiveSteps": most, "dbCacheSkipInterval": interval}
    asked, other = planned(dbCache=True, **given), planned(fbCache=True, **given)
    assert asked is not None
    assert other is not None
    assert (asked.max_run, other.max_run) == (run, most)


@pytest.mark.parametrize(
    ("given", "executed", "window"),
    [
        ({"cacheStartStep": 0}, 20, (0, 18)),
        ({"cacheStartStep": 5, "cacheEndStep": 12}, 20, (5, 12)),
        ({"cacheEndStep": 20}, 12, (3, 12)),
        ({"cacheStartStepPercentage": 33, "cacheEndStepPercentage": 66}, 20, (6, 14)),
        ({"cacheStartStepPercentage": 0, "cacheEndStepPercentage": 100}, 7, (0, 7)),
        ({"cacheStartStepPercentage": 50}, 40, (20, 39)),
        ({}, 28, (4, 26)),
        ({}, 29, (4, 28)),
    ],
)
def test_windows_are_resolved_on_executed_steps(given: dict[str, Any], executed: int, window: tuple[int, int]) -> None:
    assert cache_window(options(**given), executed) == window


@pytest.mark.parametrize("cache", CACHES)
def test_a_short_schedule_needs_a_window(cache: str) -> None:
    assert planned(executed=LEAST_STEPS - 1, **{cache: True}) is None
    assert planned(executed=LEAST_STEPS, **{cache: True}) is not None
    assert planned(executed=LEAST_STEPS - 1, **{cache: True, "cacheStartStep": 2}) is not None
    (warning,) = said(executed=LEAST_STEPS - 1, **{cache: True})
    assert warning.startswith(f"acceleratorOptions.{cache} is ignored")


@pytest.mark.parametrize("given", [{"cacheStartStep": 11}, {"cacheEndStep": 1}, {"cacheStartStepPercentage": 99}])
def test_a_window_without_a_step_is_said(given: dict[str, Any]) -> None:
    assert planned(executed=12, fbCache=True, **given) is None
    (warning,) = said(executed=12, fbCache=True, **given)
    assert "none" not in warning
    assert "can be reused" in warning


@given(st.integers(1, 50), st.integers(0, 49), st.integers(1, 50), st.integers(1, 5))
def test_a_plan_can_always_act(executed: int, start: int, end: int, most: int) -> None:
    given = {"cacheStartStep": start, "cacheEndStep": end, "cacheMaxConsecutiveSteps": most}
    plan = planned(executed, fbCache=True, **given)
    reasons = [Gate(executed, start, end, most).reason_to_compute(step, 0) for step in range(executed)]
    assert (plan is not None) == (None in reasons)


@pytest.mark.parametrize(
    ("given", "ignored"),
    [
        ({"fbCacheThreshold": 0.1}, ["fbCacheThreshold"]),
        ({"fbCache": True, "teaCacheDistance": 0.1}, ["teaCacheDistance"]),
        ({"fbCache": True, "dbCacheSkipInterval": 2, "cacheStartStep": 3}, ["dbCacheSkipInterval"]),
        ({"cacheStartStep": 3, "cacheMaxConsecutiveSteps": 2}, ["cacheStartStep", "cacheMaxConsecutiveSteps"]),
        ({"dbCache": True, "dbCacheThreshold": 0.1, "cacheEndStep": 9}, []),
    ],
)
def test_options_of_a_cache_that_is_off_are_said_to_be_ignored(given: dict[str, Any], ignored: list[str]) -> None:
    assert [warning.split()[0] for warning in said(**given)] == [f"acceleratorOptions.{name}" for name in ignored]


def test_teacache_takes_the_figures_of_its_weights() -> None:
    asked = options(teaCache=True)
    plan, warnings = cache_plan(asked, EDIT, 20, "documented")
    assert plan is not None
    assert plan.profile == "qwen_image"
    assert "was measured on text to image, not on edits" in warnings[0]
    plan, warnings = cache_plan(asked, EMBEDDED, 20, "documented")
    assert plan is not None
    assert (plan.profile, warnings) == ("embedded", ())


def test_a_profile_of_other_weights_is_refused_and_its_sender_is_told(
    settings: Settings, catalog: Catalog, worker: FakeWorker
) -> None:
    recipe = Recipe("0" * 64, "1" * 64)
    own = replace(load_profile("embedded"), recipe=recipe, recipe_hash=recipe.digest)
    write_profile(settings.data_dir / "profiles" / "embedded.toml", own)
    task = new_task(acceleratorOptions={"teaCache": True})
    with TestClient(create_app(settings, catalog, [worker]), base_url="http://box:8000") as client:
        post(client, task)
        (details,) = post(client, {"taskType": "getTaskDetails", "taskUUID": task["taskUUID"]}).json()["data"]
    plan = worker.jobs[0].request.cache
    assert plan is not None
    assert (plan.profile, plan.curve) == ("embedded", load_profile("embedded").nearest_fit(20).curve)
    told = " ".join(details["warnings"])
    assert "acceleratorOptions.teaCache: profile 'embedded' was measured on another model: recipe.weights" in told


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_server_counts_thresholds_as_it_is_told(
    settings: Settings, catalog: Catalog, worker: FakeWorker, direction: ThresholdDirection
) -> None:
    app = create_app(settings.model_copy(update={"threshold_direction": direction}), catalog, [worker])
    with TestClient(app) as client:
        post(client, new_task(acceleratorOptions={"fbCache": True, "fbCacheThreshold": 0.4}))
    assert worker.jobs[0].request.cache == planned(direction=direction, fbCache=True, fbCacheThreshold=0.4)


REPORT = CacheReport(
    "fbcache",
    (Decision(0, 0, "cond", "first"), Decision(1, 0, "cond", "reuse", 0.1, 0.1)),
    blocks_run=7,
    blocks_skipped=5,
    seconds=1.4,
)


def test_what_it_did_is_told_in_the_details_and_beside_the_receipt_but_in_no_result(
    client: TestClient, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = worker._draw
    monkeypatch.setattr(worker, "_draw", lambda job, index: replace(drawn(job, index), cache=REPORT))
    task = new_task(acceleratorOptions={"fbCache": True})
    (item,) = post(client, task).json()["data"]
    assert worker.jobs[0].request.cache == planned(fbCache=True)
    assert set(item) == {"taskType", "taskUUID", "imageUUID", "imageURL", "seed"}
    (details,) = post(client, {"taskType": "getTaskDetails", "taskUUID": task["taskUUID"]}).json()["data"]
    assert details["cache"] == [cache_json(REPORT)]
    assert details["cache"][0]["reusedSteps"] == 1
    assert details["cache"][0]["secondsSaved"] == pytest.approx(1.0)
    assert client.get(f"/v1/receipts/{item['imageUUID']}").json()["cache"] == cache_json(REPORT)
    json.dumps(details, allow_nan=False)


def test_without_a_cache_nothing_is_told(client: TestClient) -> None:
    task = new_task()
    (item,) = post(client, task).json()["data"]
    (details,) = post(client, {"taskType": "getTaskDetails", "taskUUID": task["taskUUID"]}).json()["data"]
    assert "cache" not in details
    assert "cache" not in client.get(f"/v1/receipts/{item['imageUUID']}").json()
