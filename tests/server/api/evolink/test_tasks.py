"""Tasks over HTTP, as the vendor's page shows them."""

import base64
import io
import json
from typing import Any, ClassVar

import pytest
from PIL import Image
from starlette.testclient import TestClient

from server.api.generations_route import DIALECT_HEADER
from server.api.response_headers import WARNINGS_HEADER
from server.errors import Failure
from tests.fakes import FakeWorker, picture
from tests.server.api.evolink.conftest import BODY, CREATE, PICTURE, TASKS, ended
from tests.server.conftest import Downloads

CREATED = {"created", "id", "model", "object", "progress", "status", "task_info", "type", "usage"}


def create(client: TestClient, headers: dict[str, str] | None = None, **changes: Any) -> Any:
    body = {name: value for name, value in (BODY | changes).items() if value is not None}
    return client.post(CREATE, json=body, headers=headers)


def refused(response: Any, status: int, code: str, param: str | None = None) -> str:
    error = response.json()["error"]
    assert (response.status_code, error["code"], error.get("param")) == (status, code, param), error
    return error["message"]


def test_a_task_is_created_and_queried(client: TestClient, worker: FakeWorker) -> None:
    worker.hold()
    response = create(client, n=2)
    task = response.json()
    assert response.status_code == 200
    assert response.headers[DIALECT_HEADER] == "evolink"
    assert task.keys() == CREATED
    assert (task["status"], task["progress"], task["model"]) == ("pending", 0, "qwen-image-edit-plus")
    assert (task["object"], task["type"]) == ("image.generation.task", "image")
    assert task["id"].startswith("task-unified-")
    worker.held.wait()
    running = client.get(f"{TASKS}/{task['id']}").json()
    assert (running["status"], running["task_info"]["can_cancel"]) == ("processing", True)
    assert running["task_info"]["estimated_time"] >= 1
    assert "results" not in running
    worker.release()
    done = ended(client, task["id"])
    assert (done["status"], done["progress"], done["task_info"]) == (
        "completed",
        100,
        {"can_cancel": False, "estimated_time": 0},
    )
    assert len(done["results"]) == 2
    assert client.get(done["results"][0]).headers["content-type"] == "image/png"
    request = worker.jobs[0].request
    assert (request.model, request.seed, request.count) == ("runware:108@22", 7, 2)
    assert (request.width, request.height, request.watermark) == (1120, 928, None)
    age = client.get(done["results"][0]).headers["cache-control"].rpartition("=")[2]
    assert 86_000 < int(age) <= 86_400


def test_the_fields(client: TestClient, worker: FakeWorker) -> None:
    fields = {"size": "1024x1536", "watermark": True, "negative_prompt": "rain", "num_inference_steps": 9}
    ended(client, create(client, **fields).json()["id"])
    request = worker.jobs[0].request
    assert (request.width, request.height, request.watermark) == (1024, 1536, "Qwen-Image")
    assert (request.negative_prompt, request.steps) == ("rain", 9)


def test_what_has_no_effect_is_said_in_a_header(client: TestClient) -> None:
    response = create(client, prompt_extend=True, negative_prompt="a" * 501)
    told = json.loads(response.headers[WARNINGS_HEADER])
    assert [text.split()[0] for text in told] == ["prompt_extend", "negative_prompt"]
    assert WARNINGS_HEADER not in create(client, prompt_extend=False).headers
    assert WARNINGS_HEADER not in create(client).headers


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"n": 7}, "n"),
        ({"size": "512x512", "n": 2}, "size"),
        ({"size": "511x512"}, "size"),
        ({"model": "z-image"}, "model"),
        ({"model": "qwen-image-edit", "image_urls": BODY["image_urls"] * 2}, "image_urls"),
        ({"model": "qwen-image"}, "image_urls"),
        ({"image_urls": [*BODY["image_urls"], "no picture"]}, "image_urls[1]"),
        ({"callback_url": "https://127.0.0.1/a"}, "callback_url"),
        ({"callback_url": "http://example.com/a"}, "callback_url"),
        ({"image_urls": None, "callback_url": "https://example.com"}, "image_urls"),
        ({"prompt": "<|im_end|>"}, "prompt"),
    ],
)
def test_what_is_refused(
    shared_client: TestClient, shared_worker: FakeWorker, changes: dict[str, Any], param: str
) -> None:
    response = create(shared_client, **changes)
    refused(response, 400, "invalid_request", param)
    assert response.headers[DIALECT_HEADER] == "evolink"
    assert shared_worker.jobs == []


@pytest.mark.parametrize(("width", "height", "legal"), [(384, 3072, True), (383, 400, False), (3073, 384, False)])
def test_sides_of_pictures(client: TestClient, width: int, height: int, legal: bool) -> None:
    data = base64.b64encode(picture(width, height)).decode()
    response = create(client, image_urls=[f"data:image/png;base64,{data}"])
    if legal:
        assert response.status_code == 200
    else:
        assert "must have 384 to 3072" in refused(response, 400, "invalid_request", "image_urls[0]")


def test_a_task_is_created_before_its_pictures_are_downloaded(
    client: TestClient, worker: FakeWorker, downloads: Downloads
) -> None:
    task = create(client, image_urls=[PICTURE, "https://example.com/a.png"]).json()
    assert (task["status"], downloads.ended) == ("pending", 0)
    assert client.get(f"{TASKS}/{task['id']}").json()["status"] == "pending"
    downloads.go.set()
    assert ended(client, task["id"])["status"] == "completed"
    assert len(worker.jobs[0].request.references) == 2
    downloads.data = picture(300, 300)
    error = ended(client, create(client, image_urls=["https://example.com/b.png"]).json()["id"])["error"]
    assert (error["code"], error["type"]) == ("image_dimension_mismatch", "task_error")
    assert "'image_urls[0]'" in error["message"]


def test_a_private_address_fails_the_task(client: TestClient, worker: FakeWorker) -> None:
    error = ended(client, create(client, image_urls=[PICTURE, "http://10.0.0.1/a.png"]).json()["id"])["error"]
    assert error["code"] == "image_processing_error"
    assert "'image_urls[1]'" in error["message"]
    assert worker.jobs == []


def test_a_failed_and_a_cancelled_task(client: TestClient, worker: FakeWorker) -> None:
    worker.fail = Failure("modelNotReady", "The weights are not here.", 503)
    task = ended(client, create(client).json()["id"])
    error = {"code": "service_unavailable", "message": "The weights are not here.", "type": "task_error"}
    assert (task["status"], task["error"]) == ("failed", error)
    worker.fail = None
    worker.hold()
    task_id = create(client).json()["id"]
    worker.held.wait()
    assert client.delete(f"{TASKS}/{task_id}").json()["status"] == "cancelled"
    task = ended(client, task_id)
    assert (task["status"], task["error"]["code"]) == ("failed", "request_cancelled")


def test_the_servers_own_tasks_find_it(client: TestClient) -> None:
    task_id = create(client).json()["id"]
    ended(client, task_id)
    assert client.delete(f"{TASKS}/{task_id}").json() == {"taskUUID": task_id, "status": "ended"}


class TestIdempotency:
    KEY: ClassVar[dict[str, str]] = {"Idempotency-Key": "order-2026-0001/a"}

    def test_a_repeated_key_is_the_same_task(self, client: TestClient, worker: FakeWorker) -> None:
        first, again = create(client, self.KEY), create(client, self.KEY)
        assert first.json()["id"] == again.json()["id"]
        assert ("idempotency-replayed" in first.headers, again.headers["idempotency-replayed"]) == (False, "true")
        ended(client, first.json()["id"])
        assert len(worker.jobs) == 1
        other = create(client, {**self.KEY, "Authorization": "Bearer two"})
        assert "idempotency-replayed" not in other.headers

    def test_another_request_with_it_is_refused(self, client: TestClient) -> None:
        create(client, self.KEY)
        refused(create(client, self.KEY, prompt="another"), 400, "invalid_request", "Idempotency-Key")

    def test_a_failed_task_may_be_sent_again(self, client: TestClient, worker: FakeWorker) -> None:
        worker.fail = Failure("inferenceError", "no", 500)
        task_id = create(client, self.KEY).json()["id"]
        assert ended(client, task_id)["status"] == "failed"
        worker.fail = None
        again = create(client, self.KEY)
        assert "idempotency-replayed" not in again.headers
        assert ended(client, again.json()["id"])["status"] == "completed"

    def test_what_is_no_key(self, client: TestClient) -> None:
        refused(create(client, {"Idempotency-Key": "short"}), 400, "invalid_request", "Idempotency-Key")


class TestLists:
    def test_tasks_of_a_key_the_latest_first(self, client: TestClient) -> None:
        ids = [create(client).json()["id"] for _ in range(3)]
        for task_id in ids:
            ended(client, task_id)
        page = client.get(TASKS, params={"page_size": "2"}).json()
        assert ([task["id"] for task in page["data"]], page["total"]) == (ids[:0:-1], 3)
        assert all("results" not in task for task in page["data"])
        assert [task["id"] for task in client.get(TASKS, params={"page": 2, "page_size": 2}).json()["data"]] == ids[:1]
        other = client.get(TASKS, headers={"Authorization": "Bearer two"}).json()
        assert (other["data"], other["total"]) == ([], 0)

    @pytest.mark.parametrize(
        ("query", "count"),
        [
            ({"status": "completed"}, 1),
            ({"status": "pending"}, 0),
            ({"type": "video"}, 0),
            ({"type": "image"}, 1),
            ({"model": "qwen-image-edit-plus"}, 1),
            ({"model": "other"}, 0),
        ],
    )
    def test_filters(self, client: TestClient, query: dict[str, str], count: int) -> None:
        ended(client, create(client).json()["id"])
        assert client.get(TASKS, params=query).json()["total"] == count

    @pytest.mark.parametrize(
        ("query", "param"),
        [({"status": "done"}, "status"), ({"page": "0"}, "page"), ({"page_size": "101"}, "page_size")],
    )
    def test_bad_filters(self, client: TestClient, query: dict[str, str], param: str) -> None:
        refused(client.get(TASKS, params=query), 400, "invalid_request", param)

    def test_a_batch_leaves_out_what_is_unknown(self, client: TestClient) -> None:
        task_id = create(client).json()["id"]
        ended(client, task_id)
        body = {"task_ids": ["task-unified-1-none", task_id, task_id]}
        (task,) = client.post(f"{TASKS}/batch", json=body).json()["data"]
        assert (task["id"], len(task["results"])) == (task_id, 1)
        for bad in ({}, {"task_ids": []}, {"task_ids": ["a"] * 51}):
            refused(client.post(f"{TASKS}/batch", json=bad), 400, "invalid_request", "task_ids")


def test_ids_of_no_task(client: TestClient) -> None:
    refused(client.get(f"{TASKS}/1234"), 400, "invalid_task_id", "task_id")
    refused(client.get(f"{TASKS}/task-unified-1-none"), 404, "task_not_found")
    task_id = create(client).json()["id"]
    refused(client.get(f"{TASKS}/{task_id}", headers={"Authorization": "Bearer two"}), 404, "task_not_found")
    refused(client.get(f"{TASKS}/{task_id}", headers={"Authorization": "Bearer three"}), 401, "unauthorized", "api_key")


def test_a_picture_with_transparency_is_no_mask(client: TestClient, worker: FakeWorker) -> None:
    buffer = io.BytesIO()
    Image.new("RGBA", (400, 400), (0, 0, 0, 0)).save(buffer, "PNG")
    data = base64.b64encode(buffer.getvalue()).decode()
    ended(client, create(client, image_urls=[f"data:image/png;base64,{data}"]).json()["id"])
    assert worker.jobs[0].request.mask is None
