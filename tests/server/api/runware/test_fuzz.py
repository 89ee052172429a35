"""Whatever is sent, the answer is an object with data or well-formed errors, and never a 500."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from server.api.runware.schema.tasks import TASKS
from tests.server.conftest import new_task, post

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=10), children, max_size=3),
    max_leaves=8,
)
PARAMETERS = sorted({name for model in TASKS.values() for name in model.model_fields} | {"trueCFGScale", "checkNSFW"})
NESTED = [
    "inputs", "inputs.referenceImages", "inputs.image", "inputs.strength", "settings.trueCFGScale", "safety.mode",
    "acceleratorOptions.fbCache", "acceleratorOptions.cacheEndStep", "lora", "controlNet", "outpaint.top",
    "advancedFeatures.ultralytics", "referenceImages", "routing",
]  # fmt: skip


def check(response: Any) -> None:
    assert response.status_code in (200, 400, 404), response.text
    body = response.json()
    assert set(body) <= {"data", "errors", "error"}
    for error in body.get("errors", []):
        assert error["code"]
        assert error["message"].endswith((".", "?"))
        assert None not in error.values()
    assert body["data"] or body["errors"]


@given(st.sampled_from(PARAMETERS + NESTED), JSON, st.sampled_from(sorted(TASKS)))
def test_any_value_of_any_parameter(client: TestClient, path: str, value: Any, task_type: str) -> None:
    task: dict[str, Any] = new_task() if task_type == "imageInference" else {"taskUUID": new_task()["taskUUID"]}
    task["taskType"] = task_type
    place = task
    *outer, name = path.split(".")
    for part in outer:
        place = place.setdefault(part, {})
    place[name] = value
    check(post(client, task))


@given(st.lists(JSON, max_size=4))
def test_any_array(client: TestClient, tasks: list[Any]) -> None:
    check(post(client, *tasks))


@given(st.binary(max_size=60))
def test_any_body(client: TestClient, body: bytes) -> None:
    check(client.post("/v1", content=body))
