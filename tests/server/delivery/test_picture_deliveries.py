"""Webhooks and uploads of preprocessing tasks, with every way to be answered."""

import base64
import json
import uuid
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from server.app import create_app
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.receivers import Receiver
from tests.server.conftest import error_of, post, results_of
from tests.server.delivery.details import details, ended_deliveries


@pytest.fixture
def settings(settings: Settings) -> Settings:
    changes = {"allow_private_urls": True, "webhook_delays": (0.0,) * 4}
    return settings.model_copy(update=changes | {"webhook_timeout": 60.0, "upload_timeout": 60.0})


def preprocessing(reference: str, **changes: Any) -> dict[str, Any]:
    task = {"taskType": "controlNetPreprocess", "taskUUID": str(uuid.uuid4()), "inputImage": reference}
    return task | {"preProcessorType": "canny"} | changes


@pytest.mark.parametrize(
    ("name", "delivery", "output"),
    [
        ("controlNetPreprocess", "sync", "URL"),
        ("controlNetPreprocess", "sync", "base64Data"),
        ("imageControlNetPreProcess", "sync", "dataURI"),
        ("imageControlNetPreProcess", "async", "URL"),
        ("imageControlNetPreProcess", "async", "base64Data"),
        ("controlNetPreprocess", "async", "dataURI"),
    ],
)
def test_they_go_with_every_answer(
    client: TestClient, there: Receiver, reference: str, name: str, delivery: str, output: str
) -> None:
    targets = {"webhookURL": f"{there.url}/hook?key=1", "uploadEndpoint": f"{there.url}/put?key=2"}
    task = preprocessing(reference, taskType=name, deliveryMethod=delivery, outputType=output, outputFormat="WEBP")
    answer = post(client, task | targets).json()
    if delivery == "sync":
        assert len(there.at("/put")) == 1  # before the answer
    items = results_of(client, task, wanted="success")
    (hook,), (put,) = there.wait_for(1, "/hook"), there.wait_for(1, "/put")
    assert json.loads(hook.body) == {"data": items}
    if delivery == "sync":
        assert [item | {"status": "success"} for item in answer["data"]] == items
    else:
        assert answer["data"] == [{"taskType": name, "taskUUID": task["taskUUID"]}]
    (item,) = items
    image = client.get(f"/image/{item['guideImageUUID']}.webp")
    assert (put.method, put.headers["content-type"], put.body) == ("PUT", "image/webp", image.content)
    if output != "URL":
        text = item.get("guideImageBase64Data") or item["guideImageDataURI"].partition(",")[2]
        assert base64.b64decode(text) == put.body
    found = ended_deliveries(client, task, 2)
    assert [(one["kind"], one["state"]) for one in found] == [("upload", "delivered"), ("webhook", "delivered")]
    assert found[1]["id"] == hook.message_id


def test_details_show_the_task_without_its_picture(client: TestClient, there: Receiver, reference: str) -> None:
    task = preprocessing(reference, webhookURL=f"{there.url}/hook", preProcessorType="softedge")
    post(client, task)
    found = details(client, task)
    (asked,) = found["request"]
    assert asked == {name: value for name, value in task.items() if name != "inputImage"}
    assert found["response"]["data"][0]["guideImageUUID"]
    assert "filters" in found["warnings"][0]
    deleting = {"taskType": "mediaStorage", "taskUUID": str(uuid.uuid4()), "operation": "delete"}
    post(client, deleting | {"media": found["response"]["data"][0]["guideImageUUID"]})
    assert details(client, task)["response"]["errors"][0]["code"] == "imageNotFound"


@pytest.mark.parametrize(("path", "tries"), [("fail", 4), ("refuse", 1)])
def test_an_upload_that_stays_down_is_the_failure_of_the_task(
    client: TestClient, there: Receiver, reference: str, path: str, tries: int
) -> None:
    task = preprocessing(reference, uploadEndpoint=f"{there.url}/{path}", webhookURL=f"{there.url}/hook")
    response = post(client, task)
    assert response.status_code == 400
    error = error_of(response)
    assert (error["code"], error["parameter"], len(there.at(f"/{path}"))) == ("uploadFailed", "uploadEndpoint", tries)
    (hook,) = there.wait_for(1, "/hook")
    assert json.loads(hook.body) == {"errors": [error | {"status": "error"}]}
    asked = post(client, {"taskType": "getResponse", "taskUUID": task["taskUUID"]})
    assert error_of(asked) == error | {"status": "error"}


def test_a_webhook_is_tried_again_with_the_same_id(client: TestClient, there: Receiver, reference: str) -> None:
    task = preprocessing(reference, webhookURL=f"{there.url}/flaky")
    post(client, task)
    first, second = there.wait_for(2)
    assert (first.message_id, first.body) == (second.message_id, second.body)
    (found,) = ended_deliveries(client, task, 1)
    assert (found["state"], found["tries"]) == ("delivered", 2)


def test_a_task_that_is_refused_tells_its_receivers_nothing(
    client: TestClient, there: Receiver, reference: str
) -> None:
    targets = {"webhookURL": f"{there.url}/hook", "uploadEndpoint": f"{there.url}/put"}
    assert error_of(post(client, preprocessing("bm90IGFuIGltYWdl", **targets)))["code"] == "invalidInputImage"
    post(client, preprocessing(reference, webhookURL=f"{there.url}/last"))
    there.wait_for(1, "/last")
    assert len(there.requests) == 1


def test_over_a_socket_it_is_pushed_after_its_upload(client: TestClient, there: Receiver, reference: str) -> None:
    task = preprocessing(reference, deliveryMethod="async", uploadEndpoint=f"{there.url}/put")
    with client.websocket_connect("/v1") as socket:
        socket.send_json([{"taskType": "authentication", "apiKey": "k"}])
        socket.receive_json()
        socket.send_json([task])
        assert socket.receive_json() == {"data": [{"taskType": task["taskType"], "taskUUID": task["taskUUID"]}]}
        assert socket.receive_json()["data"][0]["status"] == "success"
        assert len(there.at("/put")) == 1


def test_the_next_process_goes_on_with_it(
    settings: Settings, catalog: Catalog, there: Receiver, reference: str
) -> None:
    task = preprocessing(
        reference, uploadEndpoint=f"{there.url}/hang", deliveryMethod="async", webhookURL=f"{there.url}/hook", ttl=60
    )
    with TestClient(create_app(settings, catalog, [FakeWorker()]), base_url="http://box:8000") as client:
        post(client, task)
        there.wait_for(1, "/hang")
        (item,) = post(client, {"taskType": "getResponse", "taskUUID": task["taskUUID"]}).json()["data"]
        assert item["status"] == "processing"
    there.closed.set()
    with TestClient(create_app(settings, catalog, [FakeWorker()]), base_url="http://box:8000") as client:
        (hook,) = there.wait_for(1, "/hook")  # the receiver of the upload answers nothing, now without a wait
        error = error_of(post(client, {"taskType": "getResponse", "taskUUID": task["taskUUID"]}))
        assert (error["code"], json.loads(hook.body)) == ("uploadFailed", {"errors": [error]})
