"""The counters as Prometheus reads them from a running app."""

from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from pipelines.catalog.catalog import Catalog
from server.app import create_app
from server.errors import Failure
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.server.conftest import new_task, post

MODEL = "runware:108@1"


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


def test_tasks_and_images_of_the_queue_are_counted(client: TestClient) -> None:
    post(client, new_task(steps=7, numberResults=2))
    assert value(client, "ownware_images_total", model=MODEL) == 2
    assert value(client, "ownware_steps_total", model=MODEL, cache="none", outcome="computed") == 14
    assert value(client, "ownware_tasks_total", model=MODEL, state="done") == 1
    assert value(client, "ownware_queue_length") == 0
    assert value(client, "ownware_http_requests_total", method="POST", route="/v1", status="200") == 1


def test_tasks_that_wait_fail_or_are_cancelled(client: TestClient, worker: FakeWorker) -> None:
    worker.hold()
    first, second = new_task(deliveryMethod="async"), new_task(deliveryMethod="async")
    post(client, first)
    worker.held.wait()
    post(client, second)
    assert value(client, "ownware_queue_length") == 1
    worker.fail = Failure("inferenceError", "no", 500)
    worker.release()
    while value(client, "ownware_tasks_total", model=MODEL, state="failed") < 2:
        pass
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


def test_a_key_may_be_needed(settings: Settings, catalog: Catalog, worker: FakeWorker) -> None:
    changes = {"api_keys": ("one",), "metrics": "key"}
    with TestClient(create_app(settings.model_copy(update=changes), catalog, [worker])) as client:
        assert client.get("/metrics").status_code == 401
        assert client.get("/metrics", headers={"Authorization": "Bearer two"}).status_code == 401
        assert client.get("/metrics", headers={"Authorization": "Bearer one"}).status_code == 200
        assert client.get("/healthz").status_code == 200


def test_a_port_of_their_own(settings: Settings, catalog: Catalog, worker: FakeWorker) -> None:
    app = create_app(settings.model_copy(update={"metrics_port": 9090}), catalog, [worker])
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        private = TestClient(app, base_url="http://127.0.0.1:9090")
        assert (client.get("/metrics").status_code, client.get("/healthz").status_code) == (404, 200)
        assert private.get("/metrics").text.startswith("# HELP")
        for answer in (private.get("/healthz"), private.post("/v1", json=[new_task()]), private.get("/docs")):
            assert answer.status_code == 404
            assert answer.json()["errors"][0]["message"] == "Only /metrics is served at this port."
        with pytest.raises(WebSocketDisconnect) as closed, private.websocket_connect("ws://127.0.0.1:9090/v1"):
            pass
        assert closed.value.code == 1008
        with client.websocket_connect("ws://127.0.0.1:8000/v1"):
            pass
