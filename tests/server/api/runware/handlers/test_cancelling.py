"""cancelTask, for each kind of task, and what its clients are told."""

import asyncio
import base64
import io
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from server.api.runware.handlers import preprocessing
from server.media.fetching.fetch import Fetcher
from tests.fakes import FakeWorker, picture
from tests.server.conftest import error_of, new_lora, new_task, post, results_of
from tests.server.jobs.common import POLL_SECONDS


@pytest.fixture
def background() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as threads:
        yield threads


def cancel_of(task: dict[str, Any]) -> dict[str, Any]:
    return {"taskType": "cancelTask", "taskUUID": task["taskUUID"]}


def cancelled(task: dict[str, Any]) -> dict[str, Any]:
    return {"data": [cancel_of(task) | {"status": "cancelled"}]}


def test_a_waiting_and_a_running_task_end_and_their_clients_are_told(
    client: TestClient, worker: FakeWorker, background: ThreadPoolExecutor
) -> None:
    worker.hold(index=1)
    running, waiting = new_task(numberResults=3), new_task(deliveryMethod="async")
    answer = background.submit(post, client, running)
    worker.held.wait()
    post(client, waiting)
    for task in (waiting, running):
        response = post(client, cancel_of(task))
        assert (response.status_code, response.json()) == (200, cancelled(task))
    body = answer.result().json()
    assert [item["seed"] for item in body["data"]] == [5]
    assert [error["code"] for error in body["errors"]] == ["taskCancelled"]
    asked = post(client, {"taskType": "getResponse", "taskUUID": waiting["taskUUID"]}).json()
    assert [(error["code"], error["status"]) for error in asked["errors"]] == [("taskCancelled", "error")]
    details = post(client, {"taskType": "getTaskDetails", "taskUUID": running["taskUUID"]}).json()["data"][0]
    assert (details["state"], len(details["response"]["data"])) == ("cancelled", 1)
    assert len(worker.jobs) == 1


def test_a_socket_gets_the_error_of_the_task_and_the_answer_of_the_cancel(
    client: TestClient, worker: FakeWorker
) -> None:
    worker.hold()
    task = new_task(deliveryMethod="async")
    with client.websocket_connect("/v1") as socket:
        socket.send_json([{"taskType": "authentication", "apiKey": "any"}, task])
        socket.receive_json()
        assert set(socket.receive_json()["data"][0]) == {"taskType", "taskUUID"}
        worker.held.wait()
        socket.send_json([cancel_of(task)])
        frames = [socket.receive_json() for _ in range(2)]
    assert cancelled(task) in frames
    (error,) = next(frame["errors"] for frame in frames if "errors" in frame)
    assert (error["code"], error["taskUUID"], error["taskType"]) == (
        "taskCancelled",
        task["taskUUID"],
        "imageInference",
    )


def test_a_task_that_has_ended_stays_as_it_is(client: TestClient, reference: str) -> None:
    task = new_task()
    upload = {"taskType": "imageUpload", "taskUUID": str(uuid.uuid4()), "image": reference}
    for done in (task, upload):
        assert post(client, done).status_code == 200
        assert post(client, cancel_of(done)).json()["data"] == [cancel_of(done) | {"status": "ended"}]
    assert results_of(client, task, wanted="success")


@pytest.mark.parametrize(
    ("changes", "status", "code", "parameter"),
    [
        ({}, 404, "taskNotFound", "taskUUID"),
        ({"taskUUID": "of-no-task"}, 404, "taskNotFound", "taskUUID"),
        ({"taskUUID": "no id"}, 400, "invalidTaskUUID", "taskUUID"),
        ({"taskUUID": "a" * 129}, 400, "invalidTaskUUID", "taskUUID"),
        ({"taskUUID": None}, 400, "missingTaskUUID", "taskUUID"),
        ({"reason": "bored"}, 400, "unknownParameter", "reason"),
    ],
)
def test_bad_input(shared_client: TestClient, changes: dict[str, Any], status: int, code: str, parameter: str) -> None:
    response = post(shared_client, cancel_of(new_task()) | changes)
    error = error_of(response)
    assert (response.status_code, error["code"], error["parameter"]) == (status, code, parameter)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[threading.Semaphore, threading.Event]]:
    """Preprocessing that says when it begins, and waits until it is let go."""
    begun, go = threading.Semaphore(0), threading.Event()

    def preprocess(*arguments: object, **options: object) -> Image.Image:
        begun.release()
        go.wait()
        return Image.new("RGB", (8, 8))

    monkeypatch.setattr(preprocessing, "preprocess", preprocess)
    yield begun, go
    go.set()


def preprocessing_task(width: int) -> dict[str, Any]:
    return {
        "taskType": "controlNetPreprocess",
        "taskUUID": str(uuid.uuid4()),
        "inputImage": base64.b64encode(picture(width)).decode(),
        "preProcessorType": "canny",
    }


def test_preprocessing_that_waits_and_that_runs(
    client: TestClient, background: ThreadPoolExecutor, held: tuple[threading.Semaphore, threading.Event]
) -> None:
    begun, go = held
    running, waiting, last = (preprocessing_task(64 + number) for number in range(3))
    answers = [background.submit(post, client, running)]
    begun.acquire()
    answers += [background.submit(post, client, task) for task in (waiting, last)]
    for task in (waiting, running):
        while (response := post(client, cancel_of(task))).status_code == 404:
            threading.Event().wait(POLL_SECONDS)  # the other request has not arrived
        assert response.json() == cancelled(task)
    for answer in answers[:2]:
        assert error_of(answer.result())["code"] == "taskCancelled"
    go.set()
    image = client.get(answers[2].result().json()["data"][0]["guideImageURL"])
    assert Image.open(io.BytesIO(image.content)).size == (8, 8)
    assert begun.acquire(blocking=False)
    assert not begun.acquire(blocking=False)  # the one that waited never began
    assert post(client, running).status_code == 200  # its id is free again


def test_the_installation_of_a_lora(
    client: TestClient, background: ThreadPoolExecutor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetching = threading.Event()

    async def download(fetcher: Fetcher, url: str, path: Path) -> None:
        await asyncio.to_thread(path.write_bytes, b"half of it")
        fetching.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Fetcher, "download", download)
    task = new_lora("http://example.com/a.safetensors")
    answer = background.submit(post, client, task)
    fetching.wait()
    assert post(client, cancel_of(task)).json() == cancelled(task)
    assert error_of(answer.result())["code"] == "taskCancelled"
    asked = post(client, {"taskType": "getResponse", "taskUUID": task["taskUUID"]}).json()
    assert asked["data"][-1]["status"] == "failed"
    assert asked["errors"][0]["code"] == "taskCancelled"
    assert post(client, cancel_of(task)).json()["data"][0]["status"] == "ended"
    assert not list((tmp_path / "data" / "loras").iterdir())
