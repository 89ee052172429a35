"""The controlNetPreprocess task, under both of its names."""

import base64
import io
import uuid
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Adapter, Catalog
from pipelines.catalog.models_file import load_catalog
from pipelines.controlnet.preprocessors import NEED_A_NETWORK, preprocess
from server.app import create_app
from server.settings import Settings
from tests.fakes import FakeWorker, picture
from tests.odd_images import grey_profile, save, scene
from tests.server.conftest import error_of, new_task, post

NAMES = ["controlNetPreprocess", "imageControlNetPreProcess"]
NET = Adapter("ownware:union@1", "Union", "/nets/union")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return replace(load_catalog().with_embedded_weights(), controlnets=(NET,))


def sent(reference: str, **changes: Any) -> dict[str, Any]:
    task = {"taskType": NAMES[0], "taskUUID": str(uuid.uuid4()), "inputImage": reference, "preProcessorType": "canny"}
    return {name: value for name, value in (task | changes).items() if value is not None}


def guide_of(client: TestClient, task: dict[str, Any]) -> tuple[dict[str, Any], Image.Image]:
    response = post(client, task)
    assert response.status_code == 200, response.text
    (item,) = response.json()["data"]
    return item, Image.open(io.BytesIO(client.get(item["guideImageURL"]).content))


@pytest.mark.parametrize("name", NAMES)
def test_a_guide_is_kept_and_told(client: TestClient, reference: str, name: str) -> None:
    task = sent(reference, taskType=name, outputFormat="PNG")
    item, guide = guide_of(client, task)
    assert set(item) == {"taskType", "taskUUID", "guideImageUUID", "inputImageUUID", "guideImageURL"}
    assert (item["taskType"], item["taskUUID"]) == (name, task["taskUUID"])
    assert item["guideImageURL"] == f"http://box:8000/image/{item['guideImageUUID']}.png"
    with Image.open(io.BytesIO(picture())) as source:
        expected = preprocess(source, "canny")
    assert np.array_equal(np.asarray(guide), np.asarray(expected))


def test_a_profile_that_cannot_be_used_leaves_a_warning(client: TestClient) -> None:
    data = save(scene(), "PNG", icc_profile=grey_profile())
    response = post(client, sent("data:image/png;base64," + base64.b64encode(data).decode()))
    assert "The color profile of the input image is made for L images" in response.headers["Ownware-Warnings"]


@pytest.mark.parametrize(("output_format", "mime"), [(None, "jpeg"), ("PNG", "png"), ("WEBP", "webp")])
def test_output_types(client: TestClient, reference: str, output_format: str | None, mime: str) -> None:
    tasks = [sent(reference, outputType=kind, outputFormat=output_format) for kind in ("URL", "base64Data", "dataURI")]
    url, plain, uri = post(client, *tasks).json()["data"]
    data = client.get(url["guideImageURL"]).content
    assert Image.open(io.BytesIO(data)).format == mime.upper()
    assert base64.b64decode(plain["guideImageBase64Data"]) == data
    assert uri["guideImageDataURI"] == f"data:image/{mime};base64,{plain['guideImageBase64Data']}"
    assert "guideImageURL" not in plain


def test_a_guide_steers_a_later_task_by_uuid_and_url(client: TestClient, worker: FakeWorker, reference: str) -> None:
    item, guide = guide_of(client, sent(reference, outputFormat="PNG"))
    for named in (item["guideImageUUID"], item["guideImageURL"]):
        post(client, new_task(controlNet=[{"model": NET.air, "guideImage": named}])).json()
        (control,) = worker.jobs[-1].request.controls
        with Image.open(control.control_image.path) as used:
            assert np.array_equal(np.asarray(used), np.asarray(guide))


def test_the_input_image_is_named_as_it_was(client: TestClient, reference: str) -> None:
    generated = post(client, new_task()).json()["data"][0]
    for named in (generated["imageUUID"], generated["imageURL"]):
        item, guide = guide_of(client, sent(named))
        assert item["inputImageUUID"] == generated["imageUUID"]
        assert guide.size == (128, 128)


@pytest.mark.parametrize(
    ("wanted", "size"),
    [
        ({}, (640, 320)),
        ({"width": 320}, (320, 160)),
        ({"height": 64, "width": 64}, (64, 64)),
        ({"width": 999}, (640, 320)),
    ],
)
def test_sizes(shared_client: TestClient, wanted: dict[str, Any], size: tuple[int, int]) -> None:
    photo = "data:image/png;base64," + base64.b64encode(picture(640, 320)).decode()
    assert guide_of(shared_client, sent(photo, **wanted))[1].size == size


def test_thresholds_matter(client: TestClient, reference: str) -> None:
    few, many = (
        np.asarray(guide_of(client, sent(reference, outputFormat="PNG", **thresholds))[1]).sum()
        for thresholds in (
            {"lowThresholdCanny": 254, "highThresholdCanny": 255},
            {"lowThresholdCanny": 0, "highThresholdCanny": 1},
        )
    )
    assert few < many


def test_cost_only_on_request(client: TestClient, reference: str) -> None:
    with_cost, without = post(client, sent(reference, includeCost=True), sent(reference)).json()["data"]
    assert with_cost["cost"] == 0
    assert "cost" not in without


class TestDelivery:
    def test_async_is_acknowledged_and_found(self, client: TestClient, reference: str) -> None:
        task = sent(reference, deliveryMethod="async", taskType=NAMES[1])
        assert post(client, task).json() == {"data": [{"taskType": NAMES[1], "taskUUID": task["taskUUID"]}]}
        (item,) = post(client, asking(task)).json()["data"]
        assert item["status"] == "success"
        assert item["taskType"] == NAMES[1]
        assert client.get(item["guideImageURL"]).status_code == 200
        assert post(client, asking(task)).json()["data"] == [item]

    def test_over_a_socket_it_is_pushed_after_the_acknowledgement(self, client: TestClient, reference: str) -> None:
        task = sent(reference, deliveryMethod="async")
        with client.websocket_connect("/v1") as socket:
            socket.send_json([{"taskType": "authentication", "apiKey": "k"}])
            socket.receive_json()
            socket.send_json([task])
            assert socket.receive_json() == {"data": [{"taskType": NAMES[0], "taskUUID": task["taskUUID"]}]}
            (item,) = socket.receive_json()["data"]
            assert (item["status"], item["taskUUID"]) == ("success", task["taskUUID"])
            socket.send_json([asking(task)])
            assert socket.receive_json()["data"] == [item]

    def test_a_guide_is_found_after_a_restart(
        self, settings: Settings, catalog: Catalog, worker: FakeWorker, reference: str
    ) -> None:
        task = sent(reference, preProcessorType="softedge")
        with TestClient(create_app(settings, catalog, [worker]), base_url="http://box:8000") as client:
            told = post(client, task)
        with TestClient(create_app(settings, catalog, [worker]), base_url="http://box:8000") as client:
            found = post(client, asking(task))
        assert found.json()["data"] == [told.json()["data"][0] | {"status": "success"}]
        assert found.headers["Ownware-Warnings"] == told.headers["Ownware-Warnings"]

    def test_a_deleted_guide(self, client: TestClient, reference: str) -> None:
        task = sent(reference)
        item, _ = guide_of(client, task)
        gone = {"taskType": "mediaStorage", "taskUUID": str(uuid.uuid4()), "operation": "delete"}
        post(client, gone | {"media": item["guideImageUUID"]})
        assert error_of(post(client, asking(task)))["code"] == "imageNotFound"

    def test_a_task_belongs_to_its_key(
        self, settings: Settings, catalog: Catalog, worker: FakeWorker, reference: str
    ) -> None:
        mine, yours = ({"Authorization": f"Bearer {key}"} for key in "ab")
        app = create_app(settings.model_copy(update={"api_keys": ("a", "b")}), catalog, [worker])
        task = sent(reference)
        with TestClient(app) as client:
            post(client, task, headers=mine)
            assert error_of(post(client, asking(task), headers=yours))["code"] == "taskNotFound"
            assert post(client, task, headers=yours).status_code == 200

    def test_an_expired_task_is_forgotten(
        self, client: TestClient, reference: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task = sent(reference, ttl=60)
        post(client, task)
        monkeypatch.setattr("server.tasks.task_ids.time.time", lambda: 1e11)
        assert error_of(post(client, asking(task)))["code"] == "taskNotFound"

    def test_a_repeated_task_uuid(self, client: TestClient, reference: str) -> None:
        task = sent(reference)
        post(client, task)
        assert error_of(post(client, task | {"taskUUID": task["taskUUID"].upper()}))["code"] == "conflictTaskUUID"
        drawn = new_task()
        post(client, drawn)
        error = error_of(post(client, sent(reference, taskUUID=drawn["taskUUID"])))
        assert (error["code"], error["parameter"]) == ("conflictTaskUUID", "taskUUID")

    def test_twice_in_one_request(self, client: TestClient, reference: str) -> None:
        task = sent(reference)
        body = post(client, task, task).json()
        assert len(body["data"]) == 1
        assert [error["code"] for error in body["errors"]] == ["conflictTaskUUID"]


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "code", "parameter"),
        [
            ({"preProcessorType": None}, "missingPreProcessorType", "preProcessorType"),
            ({"preProcessorType": "pencil"}, "invalidPreProcessorType", "preProcessorType"),
            ({"inputImage": None}, "missingInputImage", "inputImage"),
            ({"inputImage": "bm90IGFuIGltYWdl"}, "invalidInputImage", "inputImage"),
            ({"inputImage": "3f0e8a52-6d0b-4a3e-9f5e-1f2d3c4b5a69"}, "imageNotFound", "inputImage"),
            ({"width": 63}, "invalidWidth", "width"),
            ({"height": 2049}, "invalidHeight", "height"),
            ({"lowThresholdCanny": 256}, "invalidLowThresholdCanny", "lowThresholdCanny"),
            ({"highThresholdCanny": -1}, "invalidHighThresholdCanny", "highThresholdCanny"),
            ({"includeHandsAndFaceOpenPose": 1}, "invalidIncludeHandsAndFaceOpenPose", "includeHandsAndFaceOpenPose"),
            ({"lowThresholdCanny": 200}, "incompatibleParameters", ["lowThresholdCanny", "highThresholdCanny"]),
            ({"webhookURL": "ftp://example.com"}, "invalidWebhookURL", "webhookURL"),
            ({"webhookURL": "http://127.0.0.1/hook"}, "invalidWebhookURL", "webhookURL"),
            ({"uploadEndpoint": "http://10.0.0.1/put"}, "invalidUploadEndpoint", "uploadEndpoint"),
            ({"preprocessor": "canny"}, "unknownParameter", "preprocessor"),
            ({"ttl": 5}, "invalidTtl", "ttl"),
            ({"outputFormat": "TIFF"}, "invalidOutputFormat", "outputFormat"),
        ],
        ids=str,
    )  # fmt: skip
    def test_parameters(
        self, shared_client: TestClient, reference: str, changes: dict[str, Any], code: str, parameter: Any
    ) -> None:
        error = error_of(post(shared_client, sent(reference, **changes)))
        assert (error["code"], error["parameter"]) == (code, parameter)

    @pytest.mark.parametrize("kind", sorted(NEED_A_NETWORK))
    def test_kinds_that_need_a_network(self, shared_client: TestClient, reference: str, kind: str) -> None:
        error = error_of(post(shared_client, sent(reference, preProcessorType=kind)))
        assert (error["code"], error["parameter"]) == ("unsupportedParameter", "preProcessorType")
        assert kind in error["message"]
        assert "canny" in error["allowedValues"]
        assert kind not in error["allowedValues"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"preProcessorType": "lineart_anime"}, "filters"),
        ({"preProcessorType": "blur", "lowThresholdCanny": 7}, "lowThresholdCanny"),
        ({"includeHandsAndFaceOpenPose": True}, "includeHandsAndFaceOpenPose"),
    ],
)
def test_what_is_done_otherwise_is_said(client: TestClient, reference: str, changes: dict[str, Any], word: str) -> None:
    assert word in post(client, sent(reference, **changes)).headers["Ownware-Warnings"]
    assert "Ownware-Warnings" not in post(client, sent(reference)).headers


class TestNewestSdk:
    """There each preprocessor is a model, and the picture is among the inputs."""

    def test_its_shape(self, client: TestClient, reference: str) -> None:
        task = {
            "model": "runware:controlnet-preprocess@canny",
            "inputs": {"image": reference},
            "settings": {"lowThresholdCanny": 10, "highThresholdCanny": 20},
            "outputFormat": "PNG",
            "routing": {},
        }
        _, theirs = guide_of(client, sent(reference, inputImage=None, preProcessorType=None, **task))
        plain = sent(reference, lowThresholdCanny=10, highThresholdCanny=20, outputFormat="PNG", outputType=["URL"])
        assert np.array_equal(np.asarray(theirs), np.asarray(guide_of(client, plain)[1]))

    def test_contradictions(self, client: TestClient, reference: str) -> None:
        error = error_of(post(client, sent(reference, model="runware:controlnet-preprocess@depth")))
        assert (error["code"], error["parameter"]) == ("incompatibleParameters", ["preProcessorType", "model"])


def asking(task: dict[str, Any]) -> dict[str, Any]:
    return {"taskType": "getResponse", "taskUUID": task["taskUUID"]}
