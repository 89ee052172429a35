"""Seed images, masks and outpainting on the wire: what is refused, and what reaches the worker."""

import base64
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipelines.request import Outpaint, RenderRequest
from tests.fakes import FakeWorker, picture
from tests.server.conftest import error_of, new_task, post


def image(width: int, height: int, image_format: str = "PNG") -> str:
    return "data:image/png;base64," + base64.b64encode(picture(width, height, image_format)).decode()


SIZE = {"width": 256, "height": 192}
SEED = {"seedImage": image(256, 192)}
MASKED = SEED | {"maskImage": image(256, 192)}


def accepted(client: TestClient, worker: FakeWorker, **task: Any) -> RenderRequest:
    response = post(client, new_task(**task))
    assert response.status_code == 200, response.json()
    return worker.jobs[-1].request


def warnings(client: TestClient, **task: Any) -> str:
    return post(client, new_task(**task)).headers.get("Ownware-Warnings", "")


def test_everything_reaches_the_worker(client: TestClient, worker: FakeWorker) -> None:
    request = accepted(client, worker, inputs=MASKED | {"strength": 0.45}, maskMargin=48, **SIZE)
    assert request.seed_image is not None
    assert request.mask is not None
    assert (request.seed_image.width, request.mask.height) == (256, 192)
    assert (request.strength, request.mask_margin, request.outpaint) == (0.45, 48, None)


def test_the_older_placement_means_the_same(client: TestClient, worker: FakeWorker) -> None:
    request = accepted(client, worker, **MASKED, strength=0, **SIZE)
    assert request.seed_image is not None
    assert request.mask is not None
    assert request.executed_steps == 0


def test_strength_defaults_to_the_vendors(client: TestClient, worker: FakeWorker) -> None:
    assert accepted(client, worker, inputs=SEED, **SIZE).strength == 0.8


# legal tasks, illegal ones, and the parameter at fault
RANGES: list[tuple[list[dict[str, Any]], list[dict[str, Any]], str]] = [
    (
        [{"inputs": SEED | {"strength": value}} for value in (0, 0.55, 1)],
        [{"inputs": SEED | {"strength": value}} for value in (-0.01, 1.01, 0.555, "1")],
        "inputs.strength",
    ),
    (
        [{"inputs": MASKED, "maskMargin": value} for value in (32, 128)],
        [{"inputs": MASKED, "maskMargin": value} for value in (31, 129, 40.5)],
        "maskMargin",
    ),
    (
        [{"inputs": SEED, "outpaint": {"blur": value, "top": 16}, "height": 208} for value in (0, 32)],
        [{"inputs": SEED, "outpaint": {"blur": value, "top": 16}, "height": 208} for value in (-1, 33)],
        "outpaint.blur",
    ),
    ([], [{"inputs": SEED, "outpaint": {"left": -16}, "width": 240}], "outpaint.left"),
]


@pytest.mark.parametrize(("legal", "illegal", "parameter"), RANGES)
def test_ranges(
    shared_client: TestClient, legal: list[dict[str, Any]], illegal: list[dict[str, Any]], parameter: str
) -> None:
    for task in legal:
        assert post(shared_client, new_task(**SIZE | task)).status_code == 200, task
    for task in illegal:
        error = error_of(post(shared_client, new_task(**SIZE | task)))
        assert error["code"].startswith("invalid"), task
        assert error["parameter"] == parameter, task


SIDES = {"top": 32, "right": 0, "left": 16, "blur": 4}


class TestOutpaint:
    def test_sums_that_add_up(self, client: TestClient, worker: FakeWorker) -> None:
        request = accepted(client, worker, inputs=SEED, outpaint=SIDES, width=272, height=224)
        assert request.outpaint == Outpaint(top=32, left=16, blur=4)
        assert request.strength == 1.0

    @pytest.mark.parametrize(("size", "name"), [((256, 224), "width"), ((272, 192), "height")])
    def test_sums_that_do_not(self, client: TestClient, size: tuple[int, int], name: str) -> None:
        task = new_task(inputs=SEED, outpaint=SIDES, width=size[0], height=size[1])
        error = error_of(post(client, task))
        assert (error["code"], error["parameter"]) == ("incompatibleParameters", [name, "outpaint"])

    def test_an_edit_that_names_no_size_gets_the_sums(self, client: TestClient, worker: FakeWorker) -> None:
        edit: dict[str, Any] = {"model": "runware:108@20", "width": None, "height": None, "outpaint": SIDES}
        request = accepted(client, worker, **edit, inputs=SEED | {"referenceImages": [image(60, 40)]})
        assert (request.width, request.height) == (272, 224)

    def test_sums_that_are_no_size(self, client: TestClient) -> None:
        edit: dict[str, Any] = {"model": "runware:108@20", "width": None, "height": None, "outpaint": {"top": 1}}
        error = error_of(post(client, new_task(**edit, inputs=SEED | {"referenceImages": [image(60, 40)]})))
        assert (error["code"], error["parameter"]) == ("invalidOutpaint", "outpaint")


class TestMask:
    def test_another_size_with_the_same_aspect(self, client: TestClient, worker: FakeWorker) -> None:
        assert accepted(client, worker, inputs=SEED | {"maskImage": image(128, 96)}, **SIZE).mask is not None

    def test_another_aspect(self, client: TestClient) -> None:
        error = error_of(post(client, new_task(inputs=SEED | {"maskImage": image(192, 256)})))
        assert (error["code"], error["parameter"]) == (
            "incompatibleParameters",
            ["inputs.maskImage", "inputs.seedImage"],
        )


class TestPictures:
    @pytest.mark.parametrize("name", ["seedImage", "maskImage"])
    def test_one_that_is_none(self, client: TestClient, name: str) -> None:
        error = error_of(post(client, new_task(inputs=MASKED | {name: "data:image/png;base64,AAAA"})))
        assert (error["code"][:7], error["parameter"]) == ("invalid", f"inputs.{name}")

    def test_a_single_pixel_is_a_picture(self, client: TestClient, worker: FakeWorker) -> None:
        edit = {"model": "runware:108@20", "inputs": {"referenceImages": [image(1, 1)]}}
        assert accepted(client, worker, **edit).references[0].width == 1

    def test_one_that_is_far_too_long(self, client: TestClient) -> None:
        edit = {"model": "runware:108@20", "inputs": {"referenceImages": [image(5050, 50)]}}
        error = error_of(post(client, new_task(**edit)))
        assert (error["code"], error["parameter"]) == ("invalidReferenceImages", "inputs.referenceImages[0]")


class TestWarnings:
    def test_strength_of_nothing(self, client: TestClient) -> None:
        assert "seed image is returned" in warnings(client, inputs=SEED | {"strength": 0}, **SIZE)

    def test_a_stretched_seed_image(self, client: TestClient) -> None:
        assert "stretched" in warnings(client, inputs=SEED, width=256, height=256)
        assert "stretched" not in warnings(client, inputs=SEED, **SIZE)


def test_inline_pictures_are_kept_by_uuid(client: TestClient) -> None:
    task = new_task(inputs={"seedImage": image(700, 300, "BMP"), "maskImage": image(700, 300)}, deliveryMethod="sync")
    assert post(client, task).status_code == 200
    details = post(client, {"taskType": "getTaskDetails", "taskUUID": task["taskUUID"]}).json()["data"][0]
    kept = details["request"][0]["inputs"]
    assert {len(kept["seedImage"]), len(kept["maskImage"])} == {36}
    assert kept["seedImage"] != kept["maskImage"]
