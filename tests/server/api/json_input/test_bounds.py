"""A task over a bound is refused by name, before its values are validated."""

from typing import Any

import pytest
from starlette.testclient import TestClient

from server.api.json_input import bounds
from server.api.json_input.bounds import check_bounds, check_marks
from server.errors import InvalidRequest, TaskRejected
from tests.server.conftest import error_of, new_task, post


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("task", "code", "parameter"),
    [
        ({"lora": [1] * 201}, "invalidLora", "lora"),
        ({"inputs": {"referenceImages": ["a"] * 201}}, "invalidReferenceImages", "inputs.referenceImages"),
        ({str(number): 1 for number in range(201)}, "invalidRequest", None),
        ({"settings": {str(number): 1 for number in range(201)}}, "invalidSettings", "settings"),
        ({"model": "a" * 65_537}, "invalidModel", "model"),
        ({"lora": [{"model": "a" * 65_537}]}, "invalidLora", "lora[0].model"),
        ({"a" * 256: 1}, "unknownParameter", None),
        ({"settings": {"a" * 256: 1}}, "unknownParameter", "settings"),
        ({str(number): [1] * 199 for number in range(6)}, "invalidRequest", None),
        ({str(number): "a" * 65_000 for number in range(16)}, "invalidRequest", None),
    ],
    ids=["items", "inner items", "keys", "inner keys", "text", "inner text", "name", "inner name", "values", "texts"],
)
def test_what_is_over_a_bound_is_named(
    shared_client: TestClient, task: dict[str, Any], code: str, parameter: Any
) -> None:
    sent = new_task() | task
    response = post(shared_client, sent)
    error = error_of(response)
    assert (response.status_code, error["code"], error.get("parameter")) == (400, code, parameter)
    assert error["taskUUID"] == sent["taskUUID"]
    assert len(response.json()["errors"]) == 1
    with pytest.raises(TaskRejected):
        check_bounds(task)


def test_depth_is_bounded() -> None:
    check_bounds({"tags": nested(32)})
    with pytest.raises(TaskRejected, match="nested more than 32 deep"):
        check_bounds({"tags": nested(33)})


def test_what_is_within_the_bounds_passes() -> None:
    check_bounds({"lora": [1] * 200, "positivePrompt": "a" * 65_536, "settings": {"a" * 255: 1}})


@pytest.mark.parametrize(
    "task",
    [
        {"inputImage": "a" * 70_000},
        {"media": "a" * 70_000},
        {"mask": "a" * 70_000},
        {"inputs": {"references": [{"image": "a" * 70_000}], "seedImage": "a" * 70_000}},
        {"controlNet": [{"guideImage": "a" * 70_000}]},
    ],
)
def test_pictures_may_be_long(task: dict[str, Any]) -> None:
    check_bounds(task)


@pytest.mark.parametrize("body", [b"[" + b"[]," * 10, "[" + "{}," * 10])
def test_a_request_of_very_many_values_is_not_parsed(body: bytes | str, monkeypatch: pytest.MonkeyPatch) -> None:
    check_marks(body)
    monkeypatch.setattr(bounds, "MAX_MARKS", 20)
    with pytest.raises(InvalidRequest, match="more than 20 commas and opening brackets"):
        check_marks(body)


def test_300_kilobytes_of_empty_lists_are_too_many() -> None:
    check_marks(b"[]," * 100_000)
    with pytest.raises(InvalidRequest, match="more than 200000 commas and opening brackets"):
        check_marks(b"[]," * 100_001)


def test_such_a_request_is_refused_in_the_dialect(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_MARKS", 5)
    response = post(client, new_task())
    assert (response.status_code, error_of(response)["code"]) == (400, "invalidRequest")


def test_an_answer_does_not_repeat_a_long_id(client: TestClient) -> None:
    response = post(client, new_task(taskUUID="a" * 50_000))
    assert (response.status_code, error_of(response)["code"]) == (400, "invalidTaskUUID")
    assert len(response.content) < 5000


@pytest.mark.parametrize(
    ("name", "most", "entry"),
    [("lora", 20, {"model": "a"}), ("controlNet", 10, {"model": "a", "guideImage": "a"})],
)
def test_loras_and_controlnets_of_a_task_are_few(
    client: TestClient, name: str, most: int, entry: dict[str, Any]
) -> None:
    error = error_of(post(client, new_task(**{name: [entry] * (most + 1)})))
    assert (error["parameter"], error["maxItems"]) == (name, most)
    assert f"an array of at most {most} entries" in error["message"]


def test_errors_that_repeat_the_name_of_a_model_are_short(client: TestClient) -> None:
    response = post(client, new_task(lora=[{"model": "a" * 50_000}] * 20))
    assert response.status_code == 400
    assert len(response.content) < 20_000


def test_a_task_that_breaks_very_many_rules_gets_few_errors(client: TestClient) -> None:
    controls = [{"model": "b", "guideImage": "a"}] * 10
    response = post(client, new_task(lora=[{"model": "a"}] * 20, controlNet=controls))
    assert response.status_code == 400
    assert len(response.json()["errors"]) == 20
