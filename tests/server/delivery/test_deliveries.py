"""Webhooks and uploads of whole tasks, with every way to be answered."""

import base64
import json
import threading
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from server.app import create_app
from server.delivery.signatures import secret_key, standard_headers
from server.errors import Failure
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.receivers import Receiver
from tests.server.conftest import error_of, new_task, post, results_of
from tests.server.delivery.details import details, ended_deliveries

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def settings(settings: Settings) -> Settings:
    changes = {"allow_private_urls": True, "webhook_delays": (0.0,) * 4, "webhook_secret": SECRET}
    return settings.model_copy(update=changes | {"webhook_timeout": 60.0, "upload_timeout": 60.0})


def bodies(requests: list[Any]) -> list[Any]:
    return [json.loads(request.body) for request in requests]


def metric(client: TestClient, kind: str, outcome: str) -> bool:
    wanted = f'ownware_deliveries_total{{kind="{kind}",outcome="{outcome}"}} '
    return wanted in client.get("/metrics").text


@pytest.mark.parametrize(
    ("delivery", "output", "count"),
    [
        ("sync", "URL", 1),
        ("sync", "base64Data", 3),
        ("sync", "dataURI", 1),
        ("async", "URL", 3),
        ("async", "base64Data", 1),
        ("async", "dataURI", 3),
    ],
)
def test_webhooks_and_uploads_go_with_every_answer(
    client: TestClient, there: Receiver, delivery: str, output: str, count: int
) -> None:
    targets = {"webhookURL": f"{there.url}/hook?key=1", "uploadEndpoint": f"{there.url}/put?key=2"}
    task = new_task(deliveryMethod=delivery, outputType=output, numberResults=count, outputFormat="WEBP", **targets)
    answer = post(client, task).json()
    if delivery == "sync":
        assert len(there.at("/put")) == count  # before the answer
    items = results_of(client, task, wanted="success")
    assert len(items) == count
    hooks, puts = there.wait_for(count, "/hook"), there.wait_for(count, "/put")
    assert [body["data"] for body in bodies(hooks)] == [[item] for item in items]
    if delivery == "sync":
        assert [item | {"status": "success"} for item in answer["data"]] == items
    else:
        assert answer["data"] == [{"taskType": "imageInference", "taskUUID": task["taskUUID"]}]
    for item, put in zip(items, puts, strict=True):
        image = client.get(f"/image/{item['imageUUID']}.webp")
        assert (put.method, put.headers["content-type"], put.body) == ("PUT", "image/webp", image.content)
        if output != "URL":
            text = item.get("imageBase64Data") or item["imageDataURI"].partition(",")[2]
            assert base64.b64decode(text) == put.body
    for hook in hooks:
        sent_at = int(hook.headers["webhook-timestamp"])
        assert hook.headers.items() >= standard_headers(secret_key(SECRET), hook.message_id, sent_at, hook.body).items()
        assert hook.headers["content-type"] == "application/json"
    assert len({hook.message_id for hook in hooks}) == count
    found = ended_deliveries(client, task, 2 * count)
    assert [(one["kind"], one["state"]) for one in found].count(("webhook", "delivered")) == count
    assert [(one["kind"], one["state"]) for one in found].count(("upload", "delivered")) == count


def test_a_failure_is_told_too(client: TestClient, worker: FakeWorker, there: Receiver) -> None:
    worker.fail = Failure("inferenceError", "why", 500)
    task = new_task(webhookURL=there.url)
    error = error_of(post(client, task))
    (body,) = bodies(there.wait_for(1))
    assert body["errors"][0].items() >= {"code": "inferenceError", "message": "why", **_ref(task)}.items()
    assert body["errors"][0].items() <= (error | {"status": "error"}).items()


def test_a_cancelled_task_is_told_too(client: TestClient, worker: FakeWorker, there: Receiver) -> None:
    worker.hold()
    running, waiting = (new_task(deliveryMethod="async", webhookURL=f"{there.url}/{name}") for name in "rw")
    for task in (running, waiting):
        post(client, task)
    assert worker.held.wait(60)
    for task in (waiting, running):
        client.delete(f"/v1/tasks/{task['taskUUID']}")
    for path in ("/r", "/w"):
        assert bodies(there.wait_for(1, path))[0]["errors"][0]["code"] == "taskCancelled"


def test_a_webhook_is_tried_again_with_the_same_id(client: TestClient, there: Receiver) -> None:
    task = new_task(webhookURL=f"{there.url}/flaky")
    post(client, task)
    first, second = there.wait_for(2)
    assert (first.message_id, first.body) == (second.message_id, second.body)
    (found,) = ended_deliveries(client, task, 1)
    assert (found["id"], found["state"], found["tries"]) == (first.message_id, "delivered", 2)


@pytest.mark.parametrize("path", ["fail", "redirect", "close", "hang"])
def test_a_webhook_is_given_up_counted_and_shown(
    settings: Settings, catalog: Catalog, worker: FakeWorker, there: Receiver, path: str
) -> None:
    impatient = settings.model_copy(update={"webhook_timeout": 0.1})
    with TestClient(create_app(impatient, catalog, [worker]), base_url="http://box:8000") as client:
        task = new_task(webhookURL=f"{there.url}/{path}")
        assert "imageURL" in post(client, task).json()["data"][0]  # no task waits for a receiver
        (found,) = ended_deliveries(client, task, 1)
        assert (found["kind"], found["state"], found["tries"], found["result"]) == ("webhook", "given_up", 5, 0)
        assert found["error"].startswith("The receiver ")
        while not metric(client, "webhook", "given_up"):
            pass
    assert there.at("/elsewhere") == []


def test_an_upload_that_stays_down_is_the_failure_of_its_result(client: TestClient, there: Receiver) -> None:
    task = new_task(uploadEndpoint=f"{there.url}/fail", webhookURL=f"{there.url}/hook", numberResults=2)
    response = post(client, task)
    body = response.json()
    assert response.status_code == 400
    assert [(error["code"], error["parameter"]) for error in body["errors"]] == [("uploadFailed", "uploadEndpoint")] * 2
    assert "answered with status 500" in body["error"]["message"]
    assert len(there.at("/fail")) == 8
    told = bodies(there.wait_for(2, "/hook"))
    assert [one["errors"][0]["code"] for one in told] == ["uploadFailed"] * 2
    items = post(client, {"taskType": "getResponse", "taskUUID": task["taskUUID"]}).json()
    assert [error["code"] for error in items["errors"]] == ["uploadFailed"] * 2
    assert details(client, task)["state"] == "done"
    while not metric(client, "upload", "given_up"):
        pass


def test_a_receiver_that_refuses_an_upload_is_not_asked_again(client: TestClient, there: Receiver) -> None:
    error = error_of(post(client, new_task(uploadEndpoint=f"{there.url}/refuse")))
    assert (error["code"], len(there.requests)) == ("uploadFailed", 1)


def test_the_next_task_does_not_wait_for_an_upload(settings: Settings, catalog: Catalog, there: Receiver) -> None:
    app = create_app(settings.model_copy(update={"upload_timeout": 3600.0}), catalog, [FakeWorker()])
    with TestClient(app, base_url="http://box:8000") as client:
        slow = new_task(uploadEndpoint=f"{there.url}/hang", deliveryMethod="async", webhookURL=f"{there.url}/hook")
        post(client, slow)
        there.wait_for(1, "/hang")
        assert "imageURL" in post(client, new_task()).json()["data"][0]
        (item,) = post(client, {"taskType": "getResponse", "taskUUID": slow["taskUUID"]}).json()["data"]
        assert item["status"] == "processing"
    # The next process takes it up, and the worker draws nothing again.
    worker = FakeWorker()
    there.closed.set()
    with TestClient(create_app(settings, catalog, [worker]), base_url="http://box:8000") as client:
        while details(client, slow)["state"] == "running":
            pass
        assert worker.jobs == []
        assert len(there.wait_for(1, "/hook")) == 1


def test_a_task_without_targets_has_no_deliveries(client: TestClient) -> None:
    task = new_task()
    post(client, task)
    assert "deliveries" not in details(client, task)


def test_a_socket_gets_one_error_for_all_uploads_that_failed(client: TestClient, there: Receiver) -> None:
    task = new_task(uploadEndpoint=f"{there.url}/refuse", numberResults=3)
    with client.websocket_connect("/v1") as socket:
        socket.send_json([{"taskType": "authentication", "apiKey": "any"}])
        socket.receive_json()
        socket.send_json([task])
        frame = socket.receive_json()
        assert [error["code"] for error in frame["errors"]] == ["uploadFailed"]
        socket.send_json([{"taskType": "ping", "ping": True}])
        assert "pong" in socket.receive_json()["data"][0]


def test_a_burst_of_tasks_is_told_completely(client: TestClient, there: Receiver) -> None:
    tasks = [new_task(webhookURL=f"{there.url}/{number % 3}") for number in range(12)]
    threads = [threading.Thread(target=post, args=(client, task)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told = {body["data"][0]["taskUUID"] for body in bodies(there.wait_for(12))}
    assert told == {task["taskUUID"] for task in tasks}


def _ref(task: dict[str, Any]) -> dict[str, Any]:
    return {"taskType": task["taskType"], "taskUUID": task["taskUUID"]}
