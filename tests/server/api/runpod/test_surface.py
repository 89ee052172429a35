import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from server.settings import Settings
from tests.bombs import BOMB_URI
from tests.fakes import FakeWorker
from tests.server.api.runpod.common import DRAW, EDIT, body_of

# Any JSON, and objects whose names are those of a job.
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
INPUTS = st.dictionaries(
    st.sampled_from(
        ["prompt", "image", "images", "size", "seed", "output_format", "loras", "negative_prompt", "cache"]
    ),
    VALUES,
)
BODIES = VALUES | st.fixed_dictionaries({"input": INPUTS | VALUES}, optional={"webhook": VALUES, "policy": VALUES})
ERROR_KEYS = ({"error"}, {"id", "status", "error"})


def refused(response: Any) -> tuple[int, str]:
    """The status and the text of an error, whose shape the clients know."""
    assert response.json().keys() in ERROR_KEYS
    assert response.json()["error"]
    return response.status_code, response.json()["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v2/nothing/run", 404),
        ("POST", "/v2/nothing/purge-queue", 404),
        ("GET", "/v2/nothing/health", 404),
        ("GET", f"{DRAW}/status/none", 404),
        ("GET", f"{DRAW}/stream/none", 404),
        ("GET", f"{DRAW}/status-sync/none", 404),
        ("POST", f"{DRAW}/cancel/none", 404),
        ("POST", f"{DRAW}/retry/none", 404),
        ("GET", f"{DRAW}/status-sync/none?wait=5", 400),
        ("GET", f"{DRAW}/status/none?ttl=5", 400),
        ("GET", f"{DRAW}/requests", 404),
        ("GET", f"{DRAW}/run", 405),
    ],
)
def test_errors_are_in_the_vendors_shape(shared_client: TestClient, method: str, path: str, status: int) -> None:
    body = body_of() if method == "POST" else None
    assert refused(shared_client.request(method, path, json=body))[0] == status


@pytest.mark.parametrize(
    "body", ["", "{", "[]", "5", '{"input": []}', '{"prompt": "a"}', '{"input": {}, "webhook": 5}']
)
@pytest.mark.parametrize("operation", ["run", "runsync"])
def test_what_is_no_job_is_refused_at_once(shared_client: TestClient, operation: str, body: str) -> None:
    response = shared_client.post(f"{DRAW}/{operation}", content=body, headers={"Content-Type": "application/json"})
    assert refused(response)[0] == 400


def test_a_key_is_needed_with_or_without_bearer(client: TestClient) -> None:
    for header in ("wrong", "Bearer wrong", ""):
        assert refused(client.get(f"{DRAW}/health", headers={"Authorization": header}))[0] == 401
    for header in ("two", "Bearer two"):
        assert client.get(f"{DRAW}/health", headers={"Authorization": header}).status_code == 200


class TestFullQueue:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"max_queue": 3})

    def test_it_asks_to_come_back(self, client: TestClient, worker: FakeWorker) -> None:
        worker.hold()
        client.post(f"{DRAW}/run", json=body_of())
        worker.held.wait()
        *queued, last = [client.post(f"{DRAW}/run", json=body_of()) for _ in range(4)]
        assert {response.status_code for response in queued} == {200}
        assert refused(last)[0] == 429
        assert last.headers["retry-after"]
        assert client.post(f"{DRAW}/purge-queue").json()["removed"] == 3
        worker.release()


@pytest.mark.parametrize("operation", ["run", "runsync"])
@pytest.mark.parametrize(
    "asked",
    [
        {"image": "https://localhost/a.png"},
        {"image": "data:image/png;base64,AAAA"},
        {"image": BOMB_URI},
        {"image": "no base64!"},
        {"image": ["data:,"]},
        {"image": None},
        {"prompt": ""},
        {"prompt": "a" * 40_000},
        {"prompt": "\\ud800"},
        {"seed": "5"},
        {"loras": [{"path": "https://hub/x.safetensors"}]},
        {"num_inference_steps": 1000},
    ],
)
def test_wrong_parameters_never_reach_a_worker(
    shared_client: TestClient, shared_worker: FakeWorker, reference: str, operation: str, asked: dict[str, Any]
) -> None:
    body = json.dumps(body_of(**{"image": reference, **asked})).replace("\\\\ud800", "\\ud800")
    response = shared_client.post(f"{EDIT}/{operation}", content=body, headers={"Content-Type": "application/json"})
    if response.status_code == 200:
        assert response.json().keys() == {"id", "status"}
        response = shared_client.get(f"{EDIT}/status-sync/{response.json()['id']}")
        assert response.json()["status"] == "FAILED"
    refused(response)
    assert shared_worker.jobs == []


@given(body=BODIES, operation=st.sampled_from(["run", "runsync"]))
def test_any_body_is_answered_in_the_vendors_shape(client: TestClient, body: Any, operation: str) -> None:
    headers = {"Content-Type": "application/json"}
    response = client.post(f"{EDIT}/{operation}", content=json.dumps(body), headers=headers)
    if operation == "run" and response.status_code == 200:
        response = client.get(f"{EDIT}/status-sync/{response.json()['id']}")
        assert response.json()["status"] == "FAILED"
    else:
        assert response.status_code == 400
    refused(response)
