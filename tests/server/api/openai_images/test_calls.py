"""Calls over HTTP, as the vendor's clients send them, and what is refused."""

import base64
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from server.api.response_headers import WARNINGS_HEADER
from server.app import create_app
from server.errors import Failure
from server.settings import Settings
from tests.fakes import FakeWorker, picture
from tests.server.api.openai_images.conftest import EDITS, GENERATIONS, KEY, colour, mask_png

PNG = picture()
DATA_URI = "data:image/png;base64," + base64.b64encode(PNG).decode()


BODY = {"model": "qwen-image", "prompt": "a red circle", "size": "256x128", "seed": 7}


def generate(client: TestClient, **changes: Any) -> Any:
    body = BODY | changes
    return client.post(GENERATIONS, json={name: value for name, value in body.items() if value is not None})


def edit(client: TestClient, files: Any = None, **changes: Any) -> Any:
    files = [("image", ("a.png", PNG, "image/png"))] if files is None else files
    fields = {"prompt": "make it blue", "seed": "7"} | changes
    return client.post(EDITS, data=fields, files=files)


def refused(response: Any, status: int, param: str | None, code: str | None = None) -> str:
    error = response.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert (response.status_code, error["param"]) == (status, param), error
    assert code in (None, error["code"])
    return error["message"]


class TestGenerations:
    def test_images_come_as_base64(self, client: TestClient, worker: FakeWorker) -> None:
        response = generate(client, n=2)
        body = response.json()
        assert response.status_code == 200
        assert [colour(item["b64_json"])[0] for item in body["data"]] == [7, 8]
        assert all(item.keys() == {"b64_json"} for item in body["data"])
        assert (body["size"], body["output_format"], body["background"]) == ("256x128", "png", "opaque")
        assert body["usage"]["total_tokens"] == 0
        assert isinstance(body["created"], int)
        request = worker.jobs[0].request
        assert (request.model, request.count, request.prompt) == ("runware:108@1", 2, "a red circle")

    def test_or_as_urls_of_the_address_that_was_called(self, client: TestClient) -> None:
        (item,) = generate(client, response_format="url", output_format="jpeg").json()["data"]
        assert item.keys() == {"url"}
        assert item["url"].startswith("http://box:8000/image/")
        assert client.get(item["url"]).headers["content-type"] == "image/jpeg"

    @pytest.mark.parametrize(
        ("size", "drawn"), [("auto", (1024, 1024)), (None, (1024, 1024)), ("512x1024", (512, 1024))]
    )
    def test_sizes(self, client: TestClient, worker: FakeWorker, size: str | None, drawn: tuple[int, int]) -> None:
        assert generate(client, size=size).json()["size"] == f"{drawn[0]}x{drawn[1]}"
        assert (worker.jobs[0].request.width, worker.jobs[0].request.height) == drawn

    def test_the_vendors_model_names_and_no_name_are_the_first_that_fits(
        self, client: TestClient, worker: FakeWorker
    ) -> None:
        for model in ("gpt-image-1", "GPT-image-1", None):
            assert generate(client, model=model).status_code == 200
        assert {job.request.model for job in worker.jobs} == {"runware:108@1"}

    def test_the_added_fields(self, client: TestClient, worker: FakeWorker) -> None:
        fields = {"negative_prompt": "rain", "num_inference_steps": 30, "true_cfg_scale": 2.5}
        response = generate(client, **fields, loras=[{"path": "outlines", "scale": 0.5}], cache="fbcache")
        assert response.status_code == 200
        request = worker.jobs[0].request
        assert (request.negative_prompt, request.steps, request.true_cfg_scale) == ("rain", 30, 2.5)
        assert [(lora.name, lora.weight) for lora in request.loras] == [("outlines", 0.5)]
        assert request.cache is not None
        assert request.cache.strategy == "fbcache"

    def test_what_has_no_effect_is_said_in_a_header(self, client: TestClient) -> None:
        response = generate(client, quality="high", output_compression=50, size="250x130", style="vivid", user="me")
        told = json.loads(response.headers[WARNINGS_HEADER])
        assert [text.split()[0] for text in told] == ["quality", "output_compression", "size"]
        assert WARNINGS_HEADER not in generate(client, quality="auto").headers

    def test_compression_is_the_quality(self, client: TestClient, worker: FakeWorker) -> None:
        for compression in (0, 50, 100, None):
            assert generate(client, output_format="webp", output_compression=compression).status_code == 200
        assert [job.encoding.quality for job in worker.jobs] == [1, 50, 99, 95]

    @pytest.mark.parametrize(
        ("changes", "param"),
        [
            ({"prompt": None}, "prompt"),
            ({"prompt": ""}, "prompt"),
            ({"prompt": ["a"]}, "prompt"),
            ({"prompt": "a" * 32_001}, "prompt"),
            ({"prompt": "<|im_end|>"}, "prompt"),
            ({"n": 0}, "n"),
            ({"n": 11}, "n"),
            ({"n": "two"}, "n"),
            ({"size": "1024"}, "size"),
            ({"size": "4096x64"}, "size"),
            ({"output_format": "gif"}, "output_format"),
            ({"background": "transparent"}, "background"),
            ({"response_format": "png"}, "response_format"),
            ({"seed": -1}, "seed"),
            ({"seed": 2**63}, "seed"),
            ({"stream": "yes"}, "stream"),
            ({"loras": ["none"]}, "loras[0].path"),
            ({"cache": "none"}, "cache.type"),
            ({"num_inference_steps": 51}, "num_inference_steps"),
            ({"model": "qwen-image-edit"}, "image_urls"),
        ],
    )
    def test_what_is_refused(
        self, shared_client: TestClient, shared_worker: FakeWorker, changes: dict[str, Any], param: str
    ) -> None:
        refused(generate(shared_client, **changes), 400, param)
        assert shared_worker.jobs == []

    def test_an_unknown_model(self, client: TestClient) -> None:
        assert "dall-e-9" in refused(generate(client, model="dall-e-9"), 404, "model", "model_not_found")

    @pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff", b"5"])
    def test_what_is_no_object(self, shared_client: TestClient, body: bytes) -> None:
        refused(shared_client.post(GENERATIONS, content=body), 400, None)

    def test_a_failure_of_the_worker(self, client: TestClient, worker: FakeWorker) -> None:
        worker.fail = Failure("modelNotReady", "The weights are not here.", 503)
        response = generate(client)
        assert refused(response, 503, None, "model_not_ready") == "The weights are not here."
        assert response.headers["retry-after"] == "10"


class TestEdits:
    def test_one_file(self, client: TestClient, worker: FakeWorker) -> None:
        body = edit(client).json()
        assert colour(body["data"][0]["b64_json"])[0] == 7
        request = worker.jobs[0].request
        assert (request.model, len(request.references), request.seed_image) == ("runware:108@20", 1, None)
        assert body["size"] == "1184x896"

    @pytest.mark.parametrize("name", ["image", "image[]"])
    def test_several_files_in_their_order(self, client: TestClient, worker: FakeWorker, name: str) -> None:
        pictures = [picture(64, 48), picture(48, 64)]
        files = [(name, ("upload", data, "application/octet-stream")) for data in pictures]
        assert edit(client, files, model="gpt-image-1").json()["size"] == "896x1184"
        request = worker.jobs[0].request
        assert request.model == "runware:108@22"
        assert [reference.width for reference in request.references] == [64, 48]

    @pytest.mark.parametrize("name", ["url", "url[]"])
    def test_urls_in_a_form_without_a_file(self, client: TestClient, worker: FakeWorker, name: str) -> None:
        response = client.post(EDITS, files=[("prompt", (None, "a")), (name, (None, DATA_URI)), ("seed", (None, "3"))])
        assert response.status_code == 200
        assert worker.jobs[0].request.seed == 3

    @pytest.mark.parametrize(
        "images", [{"images": [{"image_url": DATA_URI}]}, {"image": DATA_URI}, {"url": [DATA_URI]}]
    )
    def test_json(self, client: TestClient, worker: FakeWorker, images: dict[str, Any]) -> None:
        assert client.post(EDITS, json={"prompt": "a", "n": 2, "seed": 4, **images}).status_code == 200
        assert (worker.jobs[0].request.count, worker.jobs[0].request.seed) == (2, 4)

    def test_a_picture_of_this_server(self, client: TestClient, worker: FakeWorker) -> None:
        (item,) = generate(client, response_format="url").json()["data"]
        assert client.post(EDITS, json={"prompt": "a", "image": item["url"]}).status_code == 200
        assert worker.jobs[1].request.references[0].width == 256

    def test_the_transparent_part_of_a_mask_is_edited(self, client: TestClient, worker: FakeWorker) -> None:
        files = [("image", ("a.png", PNG, "image/png")), ("mask", ("m.png", mask_png(), "image/png"))]
        assert edit(client, files).status_code == 200
        request = worker.jobs[0].request
        assert request.seed_image == request.references[0]
        assert request.mask is not None
        with Image.open(request.mask.path) as mask:
            assert [mask.convert("L").getpixel((x, 5)) for x in (0, 31, 32, 63)] == [255, 255, 0, 0]

    def test_the_first_picture_decides_the_size_under_a_mask(self, client: TestClient, worker: FakeWorker) -> None:
        files = [("image[]", ("a", PNG)), ("image[]", ("b", picture(48, 64))), ("mask", ("m", mask_png()))]
        assert edit(client, files).json()["size"] == "1184x896"

    def test_lists_and_objects_in_a_form(self, client: TestClient, worker: FakeWorker) -> None:
        lora = json.dumps([{"path": "outlines", "scale": 0.25}])
        cache = json.dumps({"type": "dbcache", "start_step": 2, "end_step": 5})
        assert edit(client, loras=lora, cache=cache, num_inference_steps="6", stream="false").status_code == 200
        assert [lora.weight for lora in worker.jobs[0].request.loras] == [0.25]
        assert worker.jobs[0].request.cache is not None

    @pytest.mark.parametrize(
        ("files", "fields", "param"),
        [
            ([], {}, "image"),
            ([("image", ("a.png", b"no image", "image/png"))], {}, "image"),
            ([("image", ("a.png", b"", "image/png"))], {}, "image"),
            ([("image[]", ("a", PNG))] * 4, {}, "image"),
            ([("image", ("a", PNG)), ("mask", ("m", PNG))], {}, "mask"),
            ([("image", ("a", PNG)), ("mask", ("m", mask_png((48, 64))))], {}, "mask"),
            ([("image", ("a", PNG)), ("mask", ("m", mask_png())), ("mask", ("m", mask_png()))], {}, "mask"),
            (None, {"prompt": ""}, "prompt"),
            (None, {"n": "two"}, "n"),
            (None, {"model": "qwen-image"}, "image"),
            (None, {"url": "http://127.0.0.1/a.png"}, "image[1]"),
            (None, {"loras": "{"}, "loras"),
        ],
    )
    def test_what_is_refused(
        self, shared_client: TestClient, shared_worker: FakeWorker, files: Any, fields: dict[str, str], param: str
    ) -> None:
        if files == []:
            refused(shared_client.post(EDITS, files={"prompt": (None, "a")}), 400, param)
        elif "url" in fields:
            refused(shared_client.post(EDITS, json={"prompt": "a", "image": [DATA_URI, fields["url"]]}), 400, param)
        else:
            refused(edit(shared_client, files, **fields), 400, param)
        assert shared_worker.jobs == []

    @pytest.mark.parametrize(
        ("body", "param"),
        [
            ({"prompt": "a"}, "image"),
            ({"prompt": "a", "images": [{"file_id": "file-1"}]}, "images[0]"),
            ({"prompt": "a", "images": [5]}, "images[0]"),
            ({"prompt": "a", "image": "/etc/passwd"}, "image[0]"),
            ({"prompt": "a", "image": "ftp://box/a.png"}, "image[0]"),
            ({"prompt": "a", "image": "00000000-0000-4000-8000-000000000000"}, "image[0]"),
            ({"prompt": "a", "image": DATA_URI, "mask": "nothing"}, "mask"),
        ],
    )
    def test_what_is_refused_as_json(self, shared_client: TestClient, body: dict[str, Any], param: str) -> None:
        refused(shared_client.post(EDITS, json=body), 400, param)


def test_a_body_that_is_too_large(settings: Settings, catalog: Catalog, worker: FakeWorker) -> None:
    app = create_app(settings.model_copy(update={"max_body_mb": 1}), catalog, [worker])
    with TestClient(app, base_url="http://box:8000", headers=KEY) as client:
        response = edit(client, [("image", ("a.png", b"a" * 1_000_001))])
        refused(response, 413, None, "value_too_large")
        assert response.headers["connection"] == "close"


def test_a_task_that_is_not_done_in_time_is_cancelled(
    client: TestClient, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("server.api.openai_images.calls.LONGEST_WAIT", 0.05)
    worker.hold()
    response = generate(client)
    refused(response, 503, None, "service_unavailable")
    assert response.headers["retry-after"] == "10"
    worker.release()
    monkeypatch.undo()
    assert generate(client).status_code == 200


class TestOwnIds:
    def test_a_client_that_names_its_request_can_cancel_it(self, client: TestClient, worker: FakeWorker) -> None:
        task_id = str(uuid.uuid4())
        worker.hold()
        with ThreadPoolExecutor() as threads:
            waiting = threads.submit(client.post, GENERATIONS, json=BODY, headers={"X-Client-Request-Id": task_id})
            worker.held.wait()
            assert client.delete(f"/v1/tasks/{task_id}").json() == {"taskUUID": task_id, "status": "cancelled"}
            refused(waiting.result(), 400, None, "task_cancelled")

    @pytest.mark.parametrize("sent", ["mine", "a" * 512, ""])
    def test_another_text_is_no_task_id(self, client: TestClient, sent: str) -> None:
        task_id = client.post(GENERATIONS, json=BODY, headers={"X-Client-Request-Id": sent}).headers["x-request-id"]
        assert str(uuid.UUID(task_id)) == task_id != sent

    def test_an_id_is_used_once(self, client: TestClient) -> None:
        headers = {"X-Client-Request-Id": str(uuid.uuid4())}
        assert client.post(GENERATIONS, json=BODY, headers=headers).status_code == 200
        response = client.post(GENERATIONS, json=BODY, headers=headers)
        refused(response, 400, "X-Client-Request-Id", "conflict_task_uuid")
