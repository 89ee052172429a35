"""The controlNet parameter, from the wire to what the worker is asked for."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Adapter, Catalog
from pipelines.catalog.models_file import load_catalog
from pipelines.request import ControlUse
from server.api.runware.schema.objects import ControlNet
from server.api.runware.translate.spec import control_window
from tests.fakes import FakeWorker
from tests.server.conftest import error_of, new_task, post

UNION = Adapter("ownware:union@1", "Union", "/nets/union", slugs=("union",), weight=0.8)
CANNY = Adapter("ownware:canny@1", "Canny", "/nets/canny", version="2")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return replace(load_catalog().with_embedded_weights(), controlnets=(UNION, CANNY))


def errors_of(client: TestClient, *controls: dict[str, Any], **changes: Any) -> list[tuple[str, Any]]:
    response = post(client, new_task(controlNet=list(controls), **changes))
    return [(error["code"], error["parameter"]) for error in response.json().get("errors", [])]


def ordered(client: TestClient, worker: FakeWorker, *controls: dict[str, Any], **changes: Any) -> list[ControlUse]:
    response = post(client, new_task(controlNet=list(controls), **changes))
    assert response.status_code == 200, response.text
    return list(worker.jobs[-1].request.controls)


def use(reference: str, model: str = UNION.air, **changes: Any) -> dict[str, Any]:
    return {"model": model, "guideImage": reference, **changes}


class TestRequest:
    def test_several_different_nets(self, client: TestClient, worker: FakeWorker, reference: str) -> None:
        one = use(reference, weight=-1.5, controlMode="prompt", startStep=2, endStep=10)
        other = use(reference, "OWNWARE:canny@1", startStepPercentage=10, endStepPercentage=55)
        first, second = ordered(client, worker, one, other, steps=15)
        assert (first.name, first.weights) == (UNION.air, "/nets/union")
        assert (first.weight, first.mode, first.start, first.end) == (-1.5, "prompt", 2, 10)
        assert (first.control_image.width, first.control_image.height) == (64, 48)
        assert first.control_image.path.is_file()
        assert (second.weights, second.weight, second.mode) == ("/nets/canny", 1.0, "balanced")
        assert (second.start, second.end) == (1, 9)

    @pytest.mark.parametrize(("given_weight", "weight"), [({}, 0.8), ({"weight": 0}, 0.0), ({"weight": None}, 0.8)])
    def test_the_weight_is_the_rows_unless_given(
        self, client: TestClient, worker: FakeWorker, reference: str, given_weight: dict[str, Any], weight: float
    ) -> None:
        (made,) = ordered(client, worker, use(reference, "union", **given_weight))
        assert made.weight == weight
        assert (made.start, made.end) == (0, 20)

    def test_on_edit_models(self, client: TestClient, worker: FakeWorker, reference: str) -> None:
        for model in ("runware:108@20", "runware:108@22"):
            (made,) = ordered(client, worker, use(reference), model=model, referenceImages=[reference])
            assert (made.start, made.end) == (0, 8)

    def test_none_are_none(self, client: TestClient, worker: FakeWorker) -> None:
        assert ordered(client, worker) == []

    def test_a_guide_that_cannot_be_read(self, client: TestClient) -> None:
        error = error_of(post(client, new_task(controlNet=[use("/home/me/guide.png")])))
        assert (error["code"], error["parameter"]) == ("invalidControlNet", "controlNet[0].guideImage")


class TestRules:
    @pytest.mark.parametrize(
        ("legal", "illegal"),
        [
            ({"weight": 4}, {"weight": 4.01}),
            ({"weight": -4}, {"weight": "1"}),
            ({"controlMode": "controlnet"}, {"controlMode": "strong"}),
            ({"startStep": 0}, {"startStep": -1}),
            ({"endStep": 20}, {"endStep": 0}),
            ({"startStepPercentage": 99}, {"startStepPercentage": 100}),
            ({"endStepPercentage": 1}, {"endStepPercentage": 0}),
            ({}, {"guideImage": ""}),
            ({}, {"preprocessor": "canny"}),
        ],
        ids=str,
    )
    def test_ranges(
        self, shared_client: TestClient, reference: str, legal: dict[str, Any], illegal: dict[str, Any]
    ) -> None:
        assert errors_of(shared_client, use(reference, **legal)) == []
        (error,) = errors_of(shared_client, use(reference, **illegal))
        assert error[0] in ("invalidControlNet", "unknownParameter")
        assert error[1] == f"controlNet[0].{next(iter(illegal))}"

    def test_an_unknown_net(self, client: TestClient, reference: str) -> None:
        task = new_task(controlNet=[use(reference), use("not read", "a:b@1")])
        error = error_of(post(client, task))
        assert (error["code"], error["parameter"]) == ("invalidModel", "controlNet[1].model")
        assert error["allowedValues"] == [UNION.air, CANNY.air]
        assert UNION.air in error["message"]

    @pytest.mark.parametrize(
        ("window", "names"),
        [
            ({"startStep": 5, "endStep": 5}, ["startStep", "endStep"]),
            ({"endStep": 21}, ["endStep", "steps"]),
            ({"startStep": 20}, ["startStep", "steps"]),
            ({"startStepPercentage": 50, "endStepPercentage": 40}, ["startStepPercentage", "endStepPercentage"]),
            ({"startStep": 1, "endStepPercentage": 40}, ["startStep", "endStepPercentage"]),
        ],
        ids=str,
    )
    def test_windows(self, shared_client: TestClient, reference: str, window: dict[str, Any], names: list[str]) -> None:
        expected = [name if name == "steps" else f"controlNet[0].{name}" for name in names]
        assert errors_of(shared_client, use(reference, **window)) == [("incompatibleParameters", expected)]


def control(**window: Any) -> ControlNet:
    return ControlNet.model_validate({"model": "a", "guideImage": "b", **window})


class TestWindow:
    @pytest.mark.parametrize(
        ("window", "steps", "expected"),
        [
            ({}, 8, (0, 8)),
            ({"startStep": 3}, 8, (3, 8)),
            ({"endStep": 3}, 8, (0, 3)),
            ({"startStepPercentage": 50}, 8, (4, 8)),
            ({"endStepPercentage": 50}, 5, (0, 3)),
            ({"startStepPercentage": 10, "endStepPercentage": 11}, 8, (0, 1)),
            ({"startStepPercentage": 99}, 50, (49, 50)),
            ({"startStep": 6, "endStep": 9}, 4, (6, 4)),
        ],
    )
    def test_examples(self, window: dict[str, Any], steps: int, expected: tuple[int, int]) -> None:
        assert control_window(control(**window), steps) == expected

    @given(st.integers(0, 99), st.integers(1, 100), st.integers(1, 50))
    def test_a_percentage_window_is_never_empty(self, start: int, length: int, steps: int) -> None:
        window = control(startStepPercentage=start, endStepPercentage=min(100, start + length))
        first, after = control_window(window, steps)
        assert 0 <= first < after <= steps
        assert first * 100 <= start * steps < (first + 1) * 100


class TestModelSearch:
    @pytest.mark.parametrize(
        ("wanted", "found"),
        [
            ({"category": "controlnet"}, [UNION.air, CANNY.air]),
            ({"search": "canny"}, [CANNY.air]),
            ({"category": "controlnet", "type": "base"}, []),
            ({"category": "controlnet", "architecture": "qwen_image_edit"}, []),
        ],
    )
    def test_filters(self, shared_client: TestClient, wanted: dict[str, Any], found: list[str]) -> None:
        task = {"taskType": "modelSearch", "taskUUID": new_task()["taskUUID"], **wanted}
        (item,) = post(shared_client, task).json()["data"]
        assert [row["air"] for row in item["results"]] == found
        for row in item["results"]:
            assert row["category"] == "controlnet"
            assert row["defaultWeight"] == (0.8 if row["air"] == UNION.air else 1.0)


def test_a_stretched_control_image_is_told(client: TestClient, reference: str) -> None:
    """`reference` is 64×48."""
    told = post(client, new_task(controlNet=[use(reference)], width=256, height=256)).headers["Ownware-Warnings"]
    assert "controlNet[0].guideImage is 64" in told
    assert "stretched to 256" in told
    fitting = post(client, new_task(controlNet=[use(reference)], width=256, height=192))
    assert "stretched" not in fitting.headers.get("Ownware-Warnings", "")
