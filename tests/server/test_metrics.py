"""The counters, as Prometheus reads them from a running app."""

import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from accel.cache.report import CacheReport, Decision
from tests.fakes import FakeWorker
from tests.server.conftest import new_task, post

MODEL = "runware:108@1"
REPORT = CacheReport(
    "fbcache",
    (
        Decision(0, 0, "cond", "first"),
        Decision(1, 0, "cond", "reuse", 0.1, 0.1),
        Decision(2, 0, "cond", "reuse", 0.11, 0.11),
        Decision(3, 0, "cond", "threshold", 0.9, 0.9),
    ),
    blocks_run=8,
    blocks_left_out=4,
    seconds=2.0,
)
OF = {"model": MODEL, "cache": "fbcache"}


def samples(client: TestClient) -> Iterator[tuple[str, dict[str, str], float]]:
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    for family in text_string_to_metric_families(response.text):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value


def value(client: TestClient, name: str, **labels: str) -> float:
    found = [number for each, having, number in samples(client) if each == name and having == labels]
    assert len(found) <= 1
    return found[0] if found else 0.0


def test_an_image_without_a_cache(client: TestClient) -> None:
    post(client, new_task(steps=7, numberResults=2))
    assert value(client, "ownware_images_total", model=MODEL) == 2
    assert value(client, "ownware_steps_total", model=MODEL, cache="none", outcome="computed") == 14
    assert value(client, "ownware_render_seconds_count", model=MODEL) == 2
    assert value(client, "ownware_render_seconds_sum", model=MODEL) == pytest.approx(0.02)
    assert value(client, "ownware_tasks_total", model=MODEL, state="done") == 1
    assert value(client, "ownware_queue_length") == 0
    assert value(client, "ownware_http_requests_total", method="POST", route="/v1", status="200") == 1


def test_what_a_cache_did(client: TestClient, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = worker._draw
    monkeypatch.setattr(worker, "_draw", lambda job, index: replace(drawn(job, index), cache=REPORT))
    post(client, new_task(acceleratorOptions={"fbCache": True}))
    assert value(client, "ownware_steps_total", **OF, outcome="computed") == 2
    assert value(client, "ownware_steps_total", **OF, outcome="reused") == 2
    assert value(client, "ownware_cache_saved_seconds_total", **OF) == pytest.approx(1.0)
    reasons = {
        reason: value(client, "ownware_cache_forwards_total", **OF, reason=reason) for reason in ("first", "reuse")
    }
    assert reasons == {"first": 1, "reuse": 2}
    assert value(client, "ownware_cache_distance_count", cache="fbcache") == 3
    assert value(client, "ownware_cache_distance_bucket", cache="fbcache", le="0.12") == 2


def test_tasks_that_wait_fail_or_are_cancelled(client: TestClient, worker: FakeWorker) -> None:
    worker.hold()
    first, second = new_task(deliveryMethod="async"), new_task(deliveryMethod="async")
    post(client, first)
    assert worker.held.wait(5)
    post(client, second)
    assert value(client, "ownware_queue_length") == 1
    worker.fail = ("inferenceError", "no")
    worker.release()
    for _ in range(500):
        if value(client, "ownware_tasks_total", model=MODEL, state="failed") == 2:
            break
        time.sleep(0.01)
    assert value(client, "ownware_tasks_total", model=MODEL, state="failed") == 2
    assert value(client, "ownware_images_total", model=MODEL) == 0


def test_labels_cannot_be_made_up_by_callers(client: TestClient) -> None:
    for path in ("/nothing", "/nothing/else"):
        client.get(path)
    client.request("BREW", "/v1")
    found = [labels for name, labels, _ in samples(client) if name == "ownware_http_requests_total"]
    assert {"method": "GET", "route": "unmatched", "status": "404"} in found
    assert {labels["method"] for labels in found} <= {"GET", "other"}
    assert value(client, "ownware_http_requests_total", method="GET", route="unmatched", status="404") == 2


def test_routes_are_counted_by_their_pattern(client: TestClient) -> None:
    (item,) = post(client, new_task()).json()["data"]
    client.get(item["imageURL"])
    assert value(client, "ownware_http_requests_total", method="GET", route="/image/{name}", status="200") == 1
