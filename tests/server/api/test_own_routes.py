"""A task of any dialect is watched, found and cancelled by the server's own routes."""

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from server.options.access import DIALECTS
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.server.api.evolink.conftest import PICTURE
from tests.server.conftest import new_task, post

Send = Callable[[TestClient], str]
PROMPT = {"prompt": "a red circle", "seed": 5}


def runware(client: TestClient) -> str:
    task = new_task(deliveryMethod="async")
    post(client, task)
    return task["taskUUID"]


def evolink(client: TestClient) -> str:
    body = PROMPT | {"model": "qwen-image-edit-plus", "image_urls": [PICTURE]}
    return client.post("/evolink/v1/images/generations", json=body).json()["id"]


def openai(client: TestClient) -> str:
    task_id = str(uuid.uuid4())
    body, headers = PROMPT | {"size": "128x128"}, {"X-Client-Request-Id": task_id}
    # Its client waits for the image.
    threading.Thread(
        target=client.post,
        args=("/openai/v1/images/generations",),
        kwargs={"json": body, "headers": headers},
        daemon=True,
    ).start()
    while client.get(f"/v1/tasks/{task_id}/events", headers={"Last-Event-ID": "-"}).status_code == 404:
        pass
    return task_id


def wavespeed(client: TestClient) -> str:
    body = PROMPT | {"size": "128*128"}
    return client.post("/api/v3/wavespeed-ai/qwen-image/text-to-image", json=body).json()["data"]["id"]


def runpod(client: TestClient) -> str:
    body = {"input": PROMPT | {"size": "128*128"}}
    return client.post("/v2/qwen-image-t2i/run", json=body).json()["id"]


SENDS: dict[str, Send] = {send.__name__: send for send in (runware, evolink, openai, wavespeed, runpod)}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"api_keys": ("one", "two")})


@pytest.fixture
def client(client: TestClient) -> TestClient:
    client.headers["Authorization"] = "Bearer one"
    return client


def asked(client: TestClient, task_type: str, task_id: str, **options: Any) -> Any:
    return post(client, {"taskType": task_type, "taskUUID": task_id}, **options).json()


def events_of(client: TestClient, task_id: str) -> Iterator[tuple[str, Any]]:
    for block in client.get(f"/v1/tasks/{task_id}/events").text.split("\n\n"):
        if block and not block.startswith(":"):
            fields = dict(line.split(": ", 1) for line in block.splitlines())
            yield fields["event"], json.loads(fields["data"])


def test_every_dialect_is_asked() -> None:
    assert tuple(SENDS) == DIALECTS


@pytest.mark.parametrize("dialect", DIALECTS)
def test_it_is_watched_and_found(client: TestClient, worker: FakeWorker, dialect: str) -> None:
    worker.hold()
    task_id = SENDS[dialect](client)
    worker.held.wait(10)
    (waiting,) = asked(client, "getResponse", task_id)["data"]
    assert (waiting["taskType"], waiting["taskUUID"], waiting["status"]) == ("imageInference", task_id, "processing")
    worker.release()
    events = list(events_of(client, task_id))
    assert events[-1] == ("end", {"state": "done"})
    (found,) = asked(client, "getResponse", task_id)["data"]
    (told,) = [data for name, data in events if name == "result"]
    assert told == (found if dialect == "runware" else {name: found[name] for name in told})
    assert told.keys() >= {"imageUUID", "imageURL", "seed"}
    assert client.get(found["imageURL"]).status_code == 200
    (details,) = asked(client, "getTaskDetails", task_id)["data"]
    assert (details["taskUUID"], details["state"]) == (task_id, "done")
    other = asked(client, "getResponse", task_id, headers={"Authorization": "Bearer two"})
    assert other["error"]["code"] == "taskNotFound"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_it_is_cancelled(client: TestClient, worker: FakeWorker, dialect: str) -> None:
    worker.hold()
    first = SENDS[dialect](client)
    worker.held.wait(10)
    second = SENDS[dialect](client)
    assert asked(client, "cancelTask", second)["data"][0]["status"] == "cancelled"
    assert client.delete(f"/v1/tasks/{first}", headers={"Authorization": "two"}).status_code == 404
    cancelled = client.delete(f"/v1/tasks/{first}", headers={"Authorization": "one"})
    assert cancelled.json() == {"taskUUID": first, "status": "cancelled"}
    for task_id in (first, second):
        assert asked(client, "getResponse", task_id)["errors"][0]["code"] == "taskCancelled"
    worker.release()
