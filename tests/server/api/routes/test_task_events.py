"""The event stream of a task over HTTP, and how it is resumed."""

import json
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from server.api.routes import task_events
from server.app import create_app
from server.errors import Failure
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.server.conftest import error_of, new_task, post

Event = tuple[str, Any, str]


def watch(client: TestClient, task: dict[str, Any], last: str | None = None) -> list[Event]:
    """All events of a stream, as name, data and id."""
    headers = {} if last is None else {"Last-Event-ID": last}
    response = client.get(f"/v1/tasks/{task['taskUUID']}/events", headers=headers)
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["cache-control"] == "no-store"
    return events_of(response.text)


def events_of(text: str) -> list[Event]:
    found = []
    for block in filter(None, text.split("\n\n")):
        if not block.startswith(":"):
            fields = dict(line.split(": ", 1) for line in block.splitlines())
            found.append((fields["event"], json.loads(fields["data"]), fields["id"]))
    return found


def test_a_task_of_several_images_is_watched(client: TestClient, worker: FakeWorker) -> None:
    worker.hold()
    task = new_task(deliveryMethod="async", numberResults=2)
    post(client, task)
    worker.held.wait()
    with client.stream("GET", f"/v1/tasks/{task['taskUUID']}/events") as response:
        lines = response.iter_lines()
        first = [next(lines) for _ in range(4)]
        worker.release()
        events = events_of("\n".join([*first, *lines]))
    assert [name for name, _, _ in events if name in ("result", "end")] == ["result", "result", "end"]
    assert events[0][:2] == ("step", {"index": 0, "step": 1, "steps": 2, "reused": False})
    assert any(name == "preview" and data["imageDataURI"].startswith("data:image/jpeg") for name, data, _ in events)
    items = [data for name, data, _ in events if name == "result"]
    assert items == post(client, {"taskType": "getResponse", "taskUUID": task["taskUUID"]}).json()["data"]
    assert events[-1][1] == {"state": "done"}


def test_it_goes_on_after_the_last_id(client: TestClient) -> None:
    task = new_task(numberResults=2)
    post(client, task)
    events = watch(client, task)
    assert [name for name, _, _ in events] == ["result", "result", "end"]
    assert watch(client, task, events[0][2]) == events[1:]
    assert watch(client, task, events[1][2]) == events[2:]
    assert watch(client, task, "123abc-1") == events  # of an earlier task with this UUID
    ended = client.get(f"/v1/tasks/{task['taskUUID']}/events", headers={"Last-Event-ID": events[2][2]})
    assert (ended.status_code, ended.content) == (204, b"")


@pytest.mark.parametrize("last", ["nonsense", "-", "1-", "-1", "x" * 5000, "1-end-2", "1-99999", "\xff", "1-\xb2"])
def test_a_last_id_of_nonsense_is_refused(shared_client: TestClient, last: str) -> None:
    task = new_task()
    post(shared_client, task)
    response = shared_client.get(
        f"/v1/tasks/{task['taskUUID']}/events", headers={b"Last-Event-ID": last.encode("latin-1")}
    )
    error = error_of(response)
    assert (response.status_code, error["code"], error["parameter"]) == (400, "invalidLastEventID", "Last-Event-ID")


def test_an_id_that_this_task_has_not_reached_is_refused(client: TestClient) -> None:
    task = new_task()
    post(client, task)
    accepted = watch(client, task)[0][2].partition("-")[0]
    response = client.get(f"/v1/tasks/{task['taskUUID']}/events", headers={"Last-Event-ID": f"{accepted}-7"})
    assert (response.status_code, error_of(response)["code"]) == (400, "invalidLastEventID")


def test_a_failure_is_told(client: TestClient, worker: FakeWorker) -> None:
    worker.fail = Failure("inferenceError", "why", 500)
    task = new_task()
    post(client, task)
    assert [(name, data) for name, data, _ in watch(client, task)] == [
        ("end", {"state": "failed", "error": {"code": "inferenceError", "message": "why"}})
    ]


def test_a_silent_stream_is_kept_open(client: TestClient, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_events, "KEEPALIVE_SECONDS", 0.001)
    worker.hold()
    task = new_task(deliveryMethod="async")
    post(client, task)
    with client.stream("GET", f"/v1/tasks/{task['taskUUID']}/events") as response:
        lines = response.iter_lines()
        while ": ping" not in next(lines):
            pass
        worker.release()
        assert "event: end" in list(lines)


def test_a_task_is_watched_with_its_own_key_only(settings: Settings, catalog: Catalog, worker: FakeWorker) -> None:
    task = new_task()
    app = create_app(settings.model_copy(update={"api_keys": ("one", "two")}), catalog, [worker])
    with TestClient(app, base_url="http://box:8000") as client:
        post(client, task, headers={"Authorization": "Bearer one"})
        path = f"/v1/tasks/{task['taskUUID']}/events"
        answers = [client.get(path, headers={"Authorization": f"Bearer {key}"}) for key in ("one", "two", "three")]
        unknown = client.get("/v1/tasks/unknown/events", headers={"Authorization": "Bearer one"})
        assert [answer.status_code for answer in (*answers, unknown)] == [200, 404, 401, 404]
        assert error_of(answers[1])["code"] == "taskNotFound"


def test_it_is_in_the_api_pages(client: TestClient) -> None:
    described = client.get("/openapi.json").json()["paths"]["/v1/tasks/{task_id}/events"]["get"]
    assert "text/event-stream" in described["responses"]["200"]["content"]
    assert [parameter["name"] for parameter in described["parameters"]] == ["task_id", "Last-Event-ID"]
