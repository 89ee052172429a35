from collections.abc import Iterator
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from accel.cache.report import CacheReport, Decision
from server.jobs.job import Job, Result, State
from server.metrics import Metrics
from tests.server.jobs.common import submission

JOB = Job(1, replace(submission(), request=replace(submission().request, model="m", steps=7)), "done", 0.0)
REPORT = CacheReport(
    "fbcache",
    (
        Decision(0, 0, "cond", "first"),
        Decision(1, 0, "cond", "reuse", 0.1, 0.1),
        Decision(2, 0, "cond", "reuse", 0.11, 0.11),
        Decision(3, 0, "cond", "threshold", 0.9, 0.9),
    ),
    blocks_run=8,
    blocks_skipped=4,
    seconds=2.0,
)
RESULT = Result(0, "a", 5, 0.3, "{}")
OF = {"model": "m", "cache": "fbcache"}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """One sample of the text that Prometheus reads; None when it is not there."""
    found = [number for each, having, number in samples(metrics) if each == name and having == labels]
    assert len(found) <= 1
    return found[0] if found else None


def samples(metrics: Metrics) -> Iterator[tuple[str, dict[str, str], float]]:
    for family in text_string_to_metric_families(metrics.text(3).decode()):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


def test_an_image_without_a_cache(metrics: Metrics) -> None:
    for seconds in (0.3, 0.2):
        metrics.record_image(JOB, replace(RESULT, seconds=seconds))
    assert value(metrics, "ownware_images_total", model="m") == 2
    assert value(metrics, "ownware_steps_total", model="m", cache="none", outcome="computed") == 14
    assert value(metrics, "ownware_render_seconds_count", model="m") == 2
    assert value(metrics, "ownware_render_seconds_sum", model="m") == pytest.approx(0.5)


def test_an_image_with_a_cache(metrics: Metrics) -> None:
    metrics.record_image(JOB, replace(RESULT, cache=REPORT))
    assert value(metrics, "ownware_steps_total", **OF, outcome="computed") == 2
    assert value(metrics, "ownware_steps_total", **OF, outcome="reused") == 2
    assert value(metrics, "ownware_cache_saved_seconds_total", **OF) == pytest.approx(1.0)
    assert value(metrics, "ownware_cache_forwards_total", **OF, reason="first") == 1
    assert value(metrics, "ownware_cache_forwards_total", **OF, reason="reuse") == 2
    assert value(metrics, "ownware_cache_distance_count", cache="fbcache") == 3
    assert value(metrics, "ownware_cache_distance_bucket", cache="fbcache", le="0.12") == 2


def test_graphs_that_renders_compiled(metrics: Metrics) -> None:
    for recompiled, total in ((0, 0), (2, 2), (1, 3)):
        metrics.record_image(JOB, replace(RESULT, recompiled=recompiled))
        assert value(metrics, "ownware_recompiled_graphs_total", model="m") == total


def test_images_that_were_written_beside_the_steps_of_others(metrics: Metrics) -> None:
    for overlapped, total in ((False, 0), (True, 1), (True, 2)):
        metrics.record_image(JOB, replace(RESULT, overlapped=overlapped))
        assert value(metrics, "ownware_overlapped_images_total", model="m") == total


def test_images_that_had_steps_with_others(metrics: Metrics) -> None:
    for together, total in ((1, 0), (3, 1), (2, 2)):
        metrics.record_image(JOB, replace(RESULT, together=together))
        assert value(metrics, "ownware_batched_images_total", model="m") == total


def test_images_whose_branches_ran_as_one_batch(metrics: Metrics) -> None:
    for batched, total in ((False, 0), (True, 1), (True, 2)):
        metrics.record_image(JOB, replace(RESULT, batched_branches=batched))
        assert value(metrics, "ownware_batched_branches_images_total", model="m") == total


@pytest.mark.parametrize(("state", "times"), [("done", 1), ("failed", 2), ("cancelled", 0)])
def test_ends_are_counted_by_their_state(metrics: Metrics, state: State, times: int) -> None:
    for _ in range(times):
        metrics.record_end(replace(JOB, state=state))
    assert (value(metrics, "ownware_tasks_total", model="m", state=state) or 0) == times


def test_requests_and_the_queue(metrics: Metrics) -> None:
    metrics.record_request("POST", "/v1", 200)
    assert value(metrics, "ownware_http_requests_total", method="POST", route="/v1", status="200") == 1
    assert value(metrics, "ownware_queue_length") == 3
