"""One table of task ids: an id means one task, whatever its kind, and getResponse finds what became of it."""

import asyncio
import json
import sqlite3
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from server.app import create_app
from server.errors import Failure
from server.jobs.workers.messages import ImageWritten
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.lora_bytes import lora_bytes
from tests.server.conftest import error_of, new_task, post, results_of

Make = Callable[[str], dict[str, Any]]
KINDS = ("imageInference", "controlNetPreprocess", "imageUpload", "mediaStorage", "modelUpload")


@pytest.fixture
def make(reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A task of each type that is served at once and leaves a result."""

    async def download(fetcher: object, url: str, path: Path) -> None:
        await asyncio.to_thread(path.write_bytes, lora_bytes())

    monkeypatch.setattr("server.media.fetching.fetch.Fetcher.download", download)

    def made(task_type: str) -> dict[str, Any]:
        task: dict[str, Any] = {"taskType": task_type, "taskUUID": str(uuid.uuid4())}
        return (
            task
            | {
                "imageInference": {k: v for k, v in new_task().items() if k != "taskUUID"},
                "controlNetPreprocess": {"inputImage": reference, "preProcessorType": "canny"},
                "imageUpload": {"image": reference},
                "mediaStorage": {"operation": "upload", "media": reference},
                "modelUpload": {
                    "category": "lora",
                    "architecture": "qwen_image",
                    "name": task["taskUUID"],
                    "version": "1",
                    "downloadURL": "http://example.com/a.safetensors",
                },
            }[task_type]
        )

    return made


def ask(client: TestClient, task: dict[str, Any]) -> Any:
    return post(client, {"taskType": "getResponse", "taskUUID": task["taskUUID"].upper()}).json()


@pytest.mark.parametrize("task_type", KINDS)
def test_get_response_finds_the_result_of_every_kind(shared_client: TestClient, make: Make, task_type: str) -> None:
    task = make(task_type)
    answered = post(shared_client, task).json()["data"]
    found = ask(shared_client, task)["data"]
    told = [{key: value for key, value in item.items() if key != "status"} for item in (*answered, *found)]
    assert told[: len(answered)] == told[len(answered) :]
    assert found[-1]["status"] == ("ready" if task_type == "modelUpload" else "success")


@pytest.mark.parametrize(("first", "second"), [*permutations(KINDS, 2), *zip(KINDS, KINDS, strict=True)])
def test_an_id_is_used_once_whatever_the_kinds(shared_client: TestClient, make: Make, first: str, second: str) -> None:
    one, other = make(first), make(second)
    assert post(shared_client, one).status_code == 200
    response = post(shared_client, other | {"taskUUID": one["taskUUID"].upper()})
    assert response.status_code == 400
    assert (error_of(response)["code"], error_of(response)["parameter"]) == ("conflictTaskUUID", "taskUUID")
    assert {item["taskType"] for item in ask(shared_client, one)["data"]} == {first}


def test_one_id_for_all_kinds_in_one_array_gives_one_result(shared_client: TestClient, make: Make) -> None:
    task_uuid = str(uuid.uuid4())
    body = post(shared_client, *(make(kind) | {"taskUUID": task_uuid} for kind in KINDS)).json()
    (answered,) = {item["taskType"] for item in body["data"]}
    assert [error["code"] for error in body["errors"]] == ["conflictTaskUUID"] * (len(KINDS) - 1)
    assert {item["taskType"] for item in ask(shared_client, {"taskUUID": task_uuid})["data"]} == {answered}


@pytest.mark.parametrize("task_type", ["controlNetPreprocess", "imageUpload", "mediaStorage"])
def test_a_refused_task_may_be_sent_again_also_as_another_kind(
    shared_client: TestClient, make: Make, task_type: str
) -> None:
    task = make(task_type)
    name = next(name for name in ("inputImage", "image", "media") if name in task)
    assert post(shared_client, task | {name: "bm90IGFuIGltYWdl"}).status_code == 400
    assert "taskNotFound" in json.dumps(ask(shared_client, task))
    assert post(shared_client, task).status_code == 200


def test_a_failed_job_is_found_until_its_id_is_used_for_something_else(
    client: TestClient, worker: FakeWorker, make: Make
) -> None:
    worker.fail = Failure("inferenceError", "out of memory", 500)
    task = new_task()
    post(client, task)
    assert ask(client, task)["errors"][0]["code"] == "inferenceError"
    upload = make("imageUpload") | {"taskUUID": task["taskUUID"]}
    assert post(client, upload).status_code == 200
    assert ask(client, task)["data"][0]["taskType"] == "imageUpload"
    worker.fail = None
    assert error_of(post(client, task))["code"] == "conflictTaskUUID"
    details = post(client, {"taskType": "getTaskDetails", "taskUUID": task["taskUUID"]}).json()["data"][0]
    assert details["response"]["data"] == ask(client, task)["data"]


def test_an_upload_is_found_after_a_restart_and_not_once_it_has_expired(
    settings: Settings, catalog: Catalog, worker: FakeWorker, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = make("imageUpload")
    with TestClient(create_app(settings, catalog, [worker]), base_url="http://box:8000") as client:
        (item,) = post(client, task).json()["data"]
    with TestClient(create_app(settings, catalog, [worker]), base_url="http://box:8000") as client:
        assert ask(client, task)["data"] == [item | {"status": "success"}]
        later = time.time() + 31 * 86_400
        monkeypatch.setattr(time, "time", lambda: later)
        assert ask(client, task)["errors"][0]["code"] == "taskNotFound"
        assert post(client, task).status_code == 200


def test_a_task_that_is_worked_on_is_being_processed(
    settings: Settings, catalog: Catalog, worker: FakeWorker, make: Make
) -> None:
    task = make("imageUpload")
    with TestClient(create_app(settings, catalog, [worker])) as client:
        post(client, task)
        with closing(sqlite3.connect(settings.data_dir / "ownware.sqlite")) as connection, connection:
            connection.execute("UPDATE picture_tasks SET picture_uuid = NULL")
        assert ask(client, task)["data"] == [
            {"taskType": "imageUpload", "taskUUID": task["taskUUID"], "status": "processing"}
        ]


def test_an_unknown_task(client: TestClient) -> None:
    error = ask(client, new_task())["errors"][0]
    assert (error["code"], error["parameter"]) == ("taskNotFound", "taskUUID")


def test_the_details_of_an_open_task_foresee_its_end(client: TestClient, worker: FakeWorker) -> None:
    def details(task: dict[str, Any]) -> Any:
        (item,) = post(client, {"taskType": "getTaskDetails", "taskUUID": task["taskUUID"]}).json()["data"]
        return item

    worker.hold()
    first, second, third = (new_task(deliveryMethod="async") for _ in range(3))
    post(client, first)
    worker.held.wait()
    post(client, second, third)
    assert "position" not in details(first)["estimate"]
    assert [details(task)["estimate"]["position"] for task in (second, third)] == [0, 1]
    assert details(third)["estimate"]["begins"] >= details(second)["estimate"]["ends"] - 0.1
    worker.release()
    results_of(client, third, wanted="success")
    assert "estimate" not in details(third)


def test_the_details_tell_the_priority_and_a_low_task_waits_for_all_others(
    client: TestClient, worker: FakeWorker
) -> None:
    def details(task: dict[str, Any]) -> Any:
        (item,) = post(client, {"taskType": "getTaskDetails", "taskUUID": task["taskUUID"]}).json()["data"]
        return item

    worker.hold()
    first, normal = (new_task(deliveryMethod="async") for _ in range(2))
    low = new_task(deliveryMethod="async", ownware={"priority": "low"})
    post(client, first)
    worker.held.wait()
    post(client, low, normal)
    assert details(low)["estimate"]["position"] == 1
    assert details(low)["priority"] == "low"
    assert "priority" not in details(normal)
    worker.release()
    results_of(client, low, wanted="success")
    assert [job.task_uuid for job in worker.jobs] == [task["taskUUID"] for task in (first, normal, low)]


def test_a_priority_that_is_unknown_is_refused(client: TestClient) -> None:
    answer = post(client, new_task(ownware={"priority": "lowest"}))
    assert answer.status_code == 400
    (error,) = answer.json()["errors"]
    assert error["parameter"] == "ownware.priority"
    assert "low" in error["message"]


def test_the_seconds_of_an_image_alone(client: TestClient, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    def timings() -> Any:
        task = new_task()
        post(client, task)
        (item,) = post(client, {"taskType": "getTaskDetails", "taskUUID": task["taskUUID"]}).json()["data"]
        return item["timings"]

    assert timings()["busy"] == timings()["render"] == [0.01]
    monkeypatch.setattr("server.jobs.workers.messages.ImageWritten.__init__", _with_busy(0.004))
    found = timings()
    assert (found["render"], found["busy"]) == ([0.01], [0.004])


def _with_busy(seconds: float) -> Callable[..., None]:
    made = ImageWritten.__init__

    def init(self: ImageWritten, *values: Any, **named: Any) -> None:
        made(self, *values, **{**named, "busy": seconds})

    return init
