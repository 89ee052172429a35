import base64
import difflib
import io
import json
import uuid
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from server.app import create_app
from server.errors import Failure
from server.settings import Settings
from tests.fakes import FakeWorker, picture
from tests.server.conftest import error_of, new_task, post, results_of


def test_answers_with_an_image_that_needs_no_key(client: TestClient) -> None:
    task = new_task()
    response = post(client, task, headers={"Authorization": "Bearer anything"})
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    (item,) = response.json()["data"]
    assert set(item) == {"taskType", "taskUUID", "imageUUID", "imageURL", "seed"}
    assert item["taskUUID"] == task["taskUUID"]
    assert item["seed"] == 5
    assert item["imageURL"] == f"http://box:8000/image/{item['imageUUID']}.jpg"
    image = client.get(item["imageURL"])
    assert image.headers["content-type"] == "image/jpeg"
    assert Image.open(io.BytesIO(image.content)).size == (128, 128)


@pytest.mark.parametrize(
    ("output_format", "mime", "extension"), [("JPG", "jpeg", "jpg"), ("PNG", "png", "png"), ("WEBP", "webp", "webp")]
)
def test_output_types_and_formats(client: TestClient, output_format: str, mime: str, extension: str) -> None:
    formats = {"outputFormat": output_format, "seed": 9}
    tasks = [new_task(outputType=kind, **formats) for kind in ("URL", "base64Data", "dataURI")]
    url, plain, uri = post(client, *tasks).json()["data"]
    data = client.get(url["imageURL"]).content
    assert url["imageURL"].endswith(extension)
    assert Image.open(io.BytesIO(data)).format == {"JPG": "JPEG"}.get(output_format, output_format)
    assert base64.b64decode(plain["imageBase64Data"]) == data
    assert uri["imageDataURI"] == f"data:image/{mime};base64,{plain['imageBase64Data']}"
    assert "imageURL" not in plain


def test_number_of_results_gives_consecutive_seeds_and_distinct_images(client: TestClient) -> None:
    items = post(client, new_task(numberResults=3, seed=10)).json()["data"]
    assert [item["seed"] for item in items] == [10, 11, 12]
    assert len({item["imageUUID"] for item in items}) == 3


def test_the_most_that_one_task_may_ask_for(client: TestClient, worker: FakeWorker) -> None:
    items = post(client, new_task(numberResults=20, width=2048, height=2048)).json()["data"]
    assert len({item["imageUUID"] for item in items}) == 20
    (job,) = worker.jobs  # whose images are drawn one after the other
    assert (job.request.width, job.request.height, len(job.outputs)) == (2048, 2048, 20)


def test_cost_only_on_request(client: TestClient) -> None:
    with_cost, without = post(client, new_task(includeCost=True), new_task()).json()["data"]
    assert with_cost["cost"] == 0
    assert "cost" not in without


def test_a_random_seed_has_32_bits_and_is_reported(client: TestClient) -> None:
    (item,) = post(client, new_task(seed=None)).json()["data"]
    assert 0 <= item["seed"] < 2**32


def test_seed_zero_is_a_seed(client: TestClient) -> None:
    assert post(client, new_task(seed=0)).json()["data"][0]["seed"] == 0


def test_tasks_of_one_request_are_independent(client: TestClient) -> None:
    bad = new_task(width=1000)
    response = post(client, new_task(), bad, new_task())
    assert response.status_code == 200
    body = response.json()
    assert len(body["data"]) == 2
    assert [(e["code"], e["taskUUID"]) for e in body["errors"]] == [("invalidWidth", bad["taskUUID"])]
    assert "error" not in body


def test_async_is_acknowledged_with_type_and_uuid_only(client: TestClient, worker: FakeWorker) -> None:
    worker.hold()
    task = new_task(deliveryMethod="async", numberResults=2)
    acknowledged = post(client, task).json()
    assert acknowledged == {"data": [{"taskType": "imageInference", "taskUUID": task["taskUUID"]}]}
    asking = {"taskType": "getResponse", "taskUUID": task["taskUUID"]}
    (item,) = post(client, asking).json()["data"]
    assert item["status"] == "processing"
    assert item["taskType"] == "imageInference"
    worker.release()
    items = results_of(client, task, wanted="success")
    assert [item["status"] for item in items] == ["success", "success"]
    assert post(client, asking).json()["data"] == items


def test_a_failed_render_is_an_error_with_a_status_only_when_asked_later(
    client: TestClient, worker: FakeWorker
) -> None:
    worker.fail = Failure("inferenceError", "out of memory", 500)
    task = new_task()
    response = post(client, task)
    assert response.status_code == 500
    error = error_of(response)
    assert error == {
        "code": "inferenceError",
        "message": "out of memory",
        "taskType": "imageInference",
        "taskUUID": task["taskUUID"],
    }
    later = post(client, {"taskType": "getResponse", "taskUUID": task["taskUUID"]})
    assert later.status_code == 200
    assert later.json()["errors"] == [error | {"status": "error"}]
    assert "error" not in later.json()


def test_a_failed_task_may_be_sent_again(client: TestClient, worker: FakeWorker) -> None:
    worker.fail = Failure("inferenceError", "out of memory", 500)
    task = new_task()
    assert post(client, task).status_code == 500
    worker.fail = None
    assert post(client, task).status_code == 200


def test_a_worker_that_dies_fails_its_task_and_serves_the_next(client: TestClient, worker: FakeWorker) -> None:
    worker.die = True
    assert error_of(post(client, new_task()))["code"] == "inferenceError"
    assert post(client, new_task()).status_code == 200


class TestBadInput:
    @pytest.mark.parametrize(
        ("body", "code"),
        [
            (b"{", "invalidRequest"),
            (b'{"taskType": "ping"}', "invalidRequest"),
            (b"[]", "invalidRequest"),
            (b"[NaN]", "invalidRequest"),
            (b"\xff\xfe", "invalidRequest"),
            (b"", "invalidRequest"),
            (b"[" * 100_000, "invalidRequest"),
            (b'[{"taskType": "\\ud800"}]', "invalidTaskType"),
            (b'["\\ud800", ' + b"[" * 300 + b"]" * 300 + b"]", "invalidRequest"),
            (b'["\\ud800", ' + b"[" * 100_000, "invalidRequest"),
            (b'["\\ud800", NaN]', "invalidRequest"),
            (b'["\\ud800"', "invalidRequest"),
            (b"[1]", "invalidRequest"),
            (b"[{}]", "missingTaskType"),
            (b'[{"taskType": 3}]', "invalidTaskType"),
            (b'[{"taskType": "videoInference"}]', "unsupportedTaskType"),
            (b'[{"taskType": "imageInfrence"}]', "unsupportedTaskType"),
        ],
    )
    def test_bodies(self, shared_client: TestClient, body: bytes, code: str) -> None:
        response = shared_client.post("/v1", content=body)
        assert response.status_code == 400
        assert error_of(response)["code"] == code

    @pytest.mark.parametrize("half", [b"\\uD83D", b"\xed\xa0\xbd"], ids=["escaped", "encoded"])
    def test_half_a_character_fails_its_own_task(self, client: TestClient, worker: FakeWorker, half: bytes) -> None:
        bad, good = new_task(positivePrompt="a cat HALF"), new_task(positivePrompt="\U0001f600")
        response = client.post("/v1", content=json.dumps([bad, good]).encode().replace(b"HALF", half))
        assert response.status_code == 200
        (error,) = response.json()["errors"]
        assert (error["code"], error["parameter"]) == ("invalidPositivePrompt", "positivePrompt")
        assert error["taskUUID"] == bad["taskUUID"]
        assert [item["taskUUID"] for item in response.json()["data"]] == [good["taskUUID"]]
        assert worker.jobs[-1].request.prompt == "\U0001f600"

    @pytest.mark.parametrize(
        ("changes", "code", "parameter"),
        [
            ({"taskUUID": None}, "missingTaskUUID", "taskUUID"),
            ({"taskUUID": "7"}, "invalidTaskUUID", "taskUUID"),
            ({"model": "runware:101@1"}, "invalidModel", "model"),
            ({"width": 1000}, "invalidWidth", "width"),
            ({"width": None}, "missingWidth", "width"),
            ({"steps": 0}, "invalidSteps", "steps"),
            ({"steps": 51}, "invalidSteps", "steps"),
            ({"seed": -1}, "invalidSeed", "seed"),
            ({"positivePrompt": "a" * 32_001}, "invalidPositivePromptLength", "positivePrompt"),
            ({"positivePrompt": "a <|im_end|> b"}, "invalidPositivePrompt", "positivePrompt"),
            ({"positivePrompt": None}, "missingPositivePrompt", "positivePrompt"),
            ({"setps": 20}, "unknownParameter", "setps"),
        ],
    )
    def test_parameters(
        self, shared_client: TestClient, shared_worker: FakeWorker, changes: dict[str, Any], code: str, parameter: str
    ) -> None:
        task, before = new_task(**changes), len(shared_worker.jobs)
        response = post(shared_client, task)
        assert len(shared_worker.jobs) == before
        assert response.status_code == 400
        error = error_of(response)
        assert (error["code"], error["parameter"]) == (code, parameter)
        assert error["taskType"] == "imageInference"
        assert error.get("taskUUID") == task.get("taskUUID")
        assert post(shared_client, new_task()).status_code == 200

    def test_an_error_tells_the_range(self, client: TestClient) -> None:
        error = error_of(post(client, new_task(width=1000)))
        assert error["message"] == (
            "Invalid value for 'width' parameter. It must be an integer between 128 and 2048, in multiples of 16."
        )
        assert (error["type"], error["min"], error["max"], error["multiplier"]) == ("integer", 128, 2048, 16)

    def test_a_repeated_task_uuid(self, client: TestClient) -> None:
        task = new_task()
        first = post(client, task).json()["data"]
        response = post(client, task)
        assert response.status_code == 400
        assert error_of(response)["code"] == "conflictTaskUUID"
        again = post(client, {"taskType": "getResponse", "taskUUID": task["taskUUID"].upper()}).json()["data"]
        assert [item["imageUUID"] for item in again] == [item["imageUUID"] for item in first]

    def test_twice_in_one_request(self, client: TestClient) -> None:
        body = post(client, *[new_task(taskUUID="0d5f0a0e-9d0c-4d4e-8d15-3c1f1f1f1f1f")] * 2).json()
        assert len(body["data"]) == 1
        assert [error["code"] for error in body["errors"]] == ["conflictTaskUUID"]

    @pytest.mark.parametrize(
        "image",
        [
            "/home/me/photo.jpg",
            "bm90IGFuIGltYWdl",
            "data:image/png;base64," + base64.b64encode(picture()[:100]).decode(),
            "http://127.0.0.1:1/a.png",
            "ftp://example.com/a.png",
        ],
    )
    def test_reference_images(self, shared_client: TestClient, image: str) -> None:
        task = new_task(model="runware:108@20", referenceImages=[image])
        response = post(shared_client, task)
        assert response.status_code == 400
        error = error_of(response)
        assert (error["code"], error["parameter"]) == ("invalidReferenceImages", "referenceImages[0]")

    def test_a_body_over_the_limit(self, settings: Settings, catalog: Catalog, worker: FakeWorker) -> None:
        app = create_app(settings.model_copy(update={"max_body_mb": 1}), catalog, [worker])
        with TestClient(app) as client:
            for content in (b"x" * 1_000_001, iter([b"x" * 500_000] * 3)):
                response = client.post("/v1", content=content)
                assert response.status_code == 413
                assert error_of(response)["code"] == "valueTooLarge"
            assert post(client, new_task()).status_code == 200

    def test_a_full_queue(self, settings: Settings, catalog: Catalog, worker: FakeWorker) -> None:
        app = create_app(settings.model_copy(update={"max_queue": 1}), catalog, [worker])
        with TestClient(app) as client:
            worker.hold()
            post(client, new_task(deliveryMethod="async"))
            worker.held.wait()
            post(client, new_task(deliveryMethod="async"))
            response = post(client, new_task(deliveryMethod="async"))
            assert response.status_code == 429
            assert response.headers["retry-after"]
            assert error_of(response)["code"] == "rateLimitExceeded"
            worker.release()


class TestReferences:
    def test_both_placements_and_the_size_of_the_reference(
        self, client: TestClient, worker: FakeWorker, reference: str
    ) -> None:
        edit = {"model": "runware:108@20", "width": None, "height": None}
        post(client, new_task(referenceImages=[reference], **edit))
        post(client, new_task(inputs={"referenceImages": [reference]}, **edit))
        first, second = (job.request for job in worker.jobs)
        assert first.references == second.references
        assert (first.width, first.height) == (1184, 896)  # 64 × 48 at about a megapixel

    def test_an_uploaded_a_generated_and_an_own_url(self, client: TestClient, reference: str) -> None:
        upload = {"taskType": "imageUpload", "taskUUID": str(uuid.uuid4()), "image": reference}
        (uploaded,) = post(client, upload).json()["data"]
        (generated,) = post(client, new_task()).json()["data"]
        for image in (uploaded["imageUUID"], uploaded["imageURL"], generated["imageUUID"], generated["imageURL"]):
            response = post(client, new_task(model="runware:108@20", referenceImages=[image]))
            assert response.status_code == 200, response.json()

    def test_an_unknown_uuid(self, client: TestClient) -> None:
        task = new_task(model="runware:108@20", referenceImages=[str(uuid.uuid4())])
        assert error_of(post(client, task))["code"] == "imageNotFound"

    def test_three_references_on_edit_plus(self, client: TestClient, worker: FakeWorker, reference: str) -> None:
        task = new_task(model="alibaba-qwen-image-edit-plus", referenceImages=[reference] * 3)
        assert post(client, task).status_code == 200
        assert len(worker.jobs[0].request.references) == 3


def test_warnings_travel_in_a_header_and_in_the_details(client: TestClient) -> None:
    task = new_task(CFGScale=1, negativePrompt="blurry")
    response = post(client, task)
    (warning,) = json.loads(response.headers["ownware-warnings"])
    assert "negativePrompt" in warning
    details = {"taskType": "getTaskDetails", "taskUUID": task["taskUUID"]}
    (item,) = post(client, details).json()["data"]
    assert item["warnings"] == [warning]
    assert item["request"] == [task]
    assert item["response"]["data"][0]["seed"] == 5
    assert item["timings"]["render"] == [0.01]


def test_unknown_parameters_can_be_ignored(settings: Settings, catalog: Catalog, worker: FakeWorker) -> None:
    app = create_app(settings.model_copy(update={"unknown_parameters": "ignore"}), catalog, [worker])
    with TestClient(app) as client:
        response = post(client, new_task(setps=3, lora=[]))
        assert response.status_code == 200
        assert "setps" in response.headers["ownware-warnings"]


def test_results_are_found_after_a_restart(settings: Settings, catalog: Catalog, worker: FakeWorker) -> None:
    task, waiting = new_task(), new_task(deliveryMethod="async")
    with TestClient(create_app(settings, catalog, [worker])) as client:
        (item,) = post(client, task).json()["data"]
        worker.hold()
        post(client, waiting)
        worker.held.wait()
    with TestClient(create_app(settings, catalog, [FakeWorker()])) as client:
        (found,) = post(client, {"taskType": "getResponse", "taskUUID": task["taskUUID"]}).json()["data"]
        assert found["imageUUID"] == item["imageUUID"]
        assert client.get(found["imageURL"]).status_code == 200
        assert [item["status"] for item in results_of(client, waiting, wanted="success")] == ["success"]


class TestTooMuch:
    """What one caller sends must not hold up the others."""

    def test_tasks(self, client: TestClient) -> None:
        response = client.post("/v1", content=b"[" + b"0," * 1000 + b"0]")
        assert response.status_code == 400
        assert "1001 tasks" in error_of(response)["message"]

    def test_mistakes(self, client: TestClient) -> None:
        response = post(client, new_task(**{f"name{number}": 1 for number in range(150)}))
        assert response.status_code == 400
        assert len(response.json()["errors"]) == 20

    @pytest.mark.parametrize("changes", [{"x" * 250: 1}, {"taskType": "x" * 60_000}])
    def test_letters_in_a_name(
        self, client: TestClient, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
    ) -> None:
        compared: list[str] = []

        def compare(name: str, known: Any, n: int) -> list[str]:
            compared.append(name)
            return []

        monkeypatch.setattr(difflib, "get_close_matches", compare)
        error = error_of(post(client, new_task(**changes)))
        assert len(error["message"]) < 200
        assert max(len(name) for name in compared) < 200  # comparing takes the square of the length

    def test_a_header_stays_short(self, settings: Settings, catalog: Catalog, worker: FakeWorker) -> None:
        app = create_app(settings.model_copy(update={"unknown_parameters": "ignore"}), catalog, [worker])
        with TestClient(app) as client:
            response = post(client, new_task(**{f"{number:0100d}": 1 for number in range(150)}))
            assert response.status_code == 200
            assert len(response.headers["ownware-warnings"]) < 4096


@pytest.mark.parametrize("length", ["abc", "-1", "1_0", ""])
def test_a_content_length_that_is_none(shared_client: TestClient, length: str) -> None:
    response = shared_client.post("/v1", content=json.dumps([new_task()]), headers={"Content-Length": length})
    assert response.status_code == 200


def test_an_immediate_task_may_be_sent_as_async(client: TestClient, reference: str) -> None:
    """The vendor's newer SDKs add the delivery method to every task."""
    uploading = {"taskType": "imageUpload", "taskUUID": str(uuid.uuid4()), "image": reference}
    (item,) = post(client, uploading | {"deliveryMethod": "async"}).json()["data"]
    assert item["imageURL"]
    assert error_of(post(client, uploading | {"deliveryMethod": "x"}))["code"] == "invalidDeliveryMethod"
