"""The spans of a whole app, from the request to the webhook."""

from typing import Any

from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from server.app import create_app
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.receivers import Receiver
from tests.server.conftest import new_task, post
from tests.server.tracing.test_otel_tracer import CLIENT, TRACE

TASK = {"positivePrompt": "a secret garden"}


def test_a_task_is_one_trace_from_its_request_to_its_webhook(
    settings: Settings, catalog: Catalog, worker: FakeWorker, sent: InMemorySpanExporter, there: Receiver
) -> None:
    changes = {"tracing": True, "allow_private_urls": True}
    task = new_task(**TASK, webhookURL=f"{there.url}/hook?secret=1", uploadEndpoint=f"{there.url}/put")
    with TestClient(create_app(settings.model_copy(update=changes), catalog, [worker])) as client:
        assert post(client, task, headers={"traceparent": CLIENT}).status_code == 200
        there.wait_for(1, "/hook")
    found = {span.name: span for span in sent.get_finished_spans()}
    assert found.keys() == set("accept queue image steps encode upload webhook task".split()) | {"POST /v1"}
    assert {span.context.trace_id for span in found.values() if span.context} == {TRACE}
    ids = {span.context.span_id: name for name, span in found.items() if span.context}
    parents = {name: ids.get(span.parent.span_id, "client") for name, span in found.items() if span.parent}
    assert parents == {
        "POST /v1": "client",
        "accept": "POST /v1",
        **dict.fromkeys(("queue", "image", "upload", "webhook", "task"), "accept"),
        "steps": "image",
        "encode": "image",
    }
    told = [dict(span.attributes or {}) for span in found.values()]
    uuids = [each["ownware.task_uuid"] for each in told if "ownware.task_uuid" in each]
    assert uuids == [task["taskUUID"]] * 6
    assert (found["POST /v1"].attributes or {})["http.response.status_code"] == 200
    assert (found["task"].attributes or {})["ownware.state"] == "done"
    assert not any(word in str(told) for word in ("secret", "garden"))


def test_failures_are_errors(
    settings: Settings, catalog: Catalog, worker: FakeWorker, sent: InMemorySpanExporter, there: Receiver
) -> None:
    worker.die = True
    changes: dict[str, Any] = {"tracing": True, "allow_private_urls": True, "webhook_delays": ()}
    with TestClient(create_app(settings.model_copy(update=changes), catalog, [worker])) as client:
        assert post(client, new_task(**TASK, webhookURL=f"{there.url}/fail")).status_code == 500
        there.wait_for(1)
        assert client.get("/nothing").status_code == 404
    found = {span.name: span for span in sent.get_finished_spans()}
    failed = {name: span.status.description for name, span in found.items() if not span.status.is_ok}
    assert failed.keys() == {"POST /v1", "task", "webhook"}
    assert failed["task"] == "inferenceError"
    assert "status 500" in str(failed["webhook"])
    assert found["GET"].status.status_code == StatusCode.UNSET


def test_the_tasks_of_a_websocket_belong_to_its_handshake(
    settings: Settings, catalog: Catalog, worker: FakeWorker, sent: InMemorySpanExporter
) -> None:
    app = create_app(settings.model_copy(update={"tracing": True}), catalog, [worker])
    with TestClient(app) as client, client.websocket_connect("/v1", headers={"traceparent": CLIENT}) as socket:
        socket.send_json([{"taskType": "authentication", "apiKey": "any"}])
        socket.receive_json()
        socket.send_json([new_task(**TASK)])
        socket.receive_json()
    found = sent.get_finished_spans()
    assert {"accept", "queue", "image", "task"} <= {span.name for span in found}
    assert {span.context.trace_id for span in found if span.context} == {TRACE}
