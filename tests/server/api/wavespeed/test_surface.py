import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from server.settings import Settings
from tests.fakes import FakeWorker
from tests.server.api.wavespeed.common import DRAW, EDIT, ROOT, data_of, submit

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
OBJECTS = st.dictionaries(st.text(max_size=9), SCALARS, max_size=3)
VALUES = SCALARS | OBJECTS | st.lists(SCALARS | OBJECTS, max_size=3)
NAMES = ["prompt", "image", "images", "size", "aspect_ratio", "seed", "output_format", "loras", "cache"]
NAMES += ["negative_prompt", "enable_sync_mode", "enable_base64_output", "webhook_url"]
BODIES = VALUES | st.dictionaries(st.sampled_from(NAMES), VALUES)
OTHERS = ["predictions", "predictions/delete", "media/uploads", "model/price"]


def refused(response: Any) -> tuple[int, str]:
    """The status and the text of an error, whose shape the clients know."""
    body = response.json()
    assert body.keys() == {"code", "message", "error_code"}
    assert body["code"] == response.status_code
    assert body["message"]
    return response.status_code, body["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", f"{ROOT}/wavespeed-ai/flux-dev", 404),
        ("GET", f"{ROOT}/predictions/none/result", 404),
        ("GET", f"{ROOT}/predictions/none", 404),
        ("GET", f"{ROOT}/media/files/none/a.png", 404),
        ("PUT", f"{ROOT}/media/uploads/none", 404),
        ("GET", f"{ROOT}/nothing/at/all", 405),
        ("PUT", f"{ROOT}/balance", 405),
        ("POST", f"{ROOT}/{DRAW}", 400),
    ],
)
def test_errors_are_in_the_vendors_shape(shared_client: TestClient, method: str, path: str, status: int) -> None:
    assert refused(shared_client.request(method, path))[0] == status


@pytest.mark.parametrize(
    "asked",
    [
        {"prompt": None},
        {"prompt": "a" * 40_000},
        {"seed": "5"},
        {"size": "64*64"},
        {"image": "a"},
        {"loras": [{"path": "https://hub/x.safetensors"}]},
        {"loras": [{}]},
        {"num_inference_steps": 1000},
        {"webhook_url": "ftp://a"},
        {"output_format": "gif"},
    ],
)
def test_wrong_parameters_are_named_and_never_reach_a_worker(
    shared_client: TestClient, shared_worker: FakeWorker, asked: dict[str, Any]
) -> None:
    status, message = refused(submit(shared_client, **asked))
    assert status == 400
    assert f"'{next(iter(asked))}" in message
    assert shared_worker.jobs == []


def test_pictures_are_counted(client: TestClient) -> None:
    assert refused(submit(client, EDIT))[0] == 400
    assert refused(submit(client, EDIT, images=["a"] * 4))[0] == 400
    assert refused(submit(client, EDIT, images=["a"], image="a"))[0] == 400


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"5", b"\xff", b'{"prompt": "\\ud800"}', b"[" * 100_000])
@pytest.mark.parametrize("path", [DRAW, *OTHERS])
def test_what_is_no_request_is_refused(shared_client: TestClient, path: str, body: bytes) -> None:
    response = shared_client.post(f"{ROOT}/{path}", content=body, headers={"Content-Type": "application/json"})
    assert refused(response)[0] == 400


def test_a_key_is_needed(client: TestClient) -> None:
    for header in ("Bearer wrong", "Basic one", ""):
        assert refused(client.get(f"{ROOT}/balance", headers={"Authorization": header}))[0] == 401
        assert refused(client.post(f"{ROOT}/{DRAW}", json={}, headers={"Authorization": header}))[0] == 401


class TestFullQueue:
    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"max_queue": 3})

    def test_it_asks_to_come_back(self, client: TestClient, worker: FakeWorker) -> None:
        worker.hold()
        submit(client)
        worker.held.wait()
        *queued, last = [submit(client) for _ in range(4)]
        assert {response.status_code for response in queued} == {200}
        assert refused(last)[0] == 429
        assert last.headers["retry-after"]
        worker.release()
        data_of(client.get(f"{ROOT}/balance"))


@given(body=BODIES)
def test_any_body_is_answered_in_the_vendors_shape(client: TestClient, body: Any) -> None:
    headers = {"Content-Type": "application/json"}
    response = client.post(f"{ROOT}/{EDIT}", content=json.dumps(body), headers=headers)
    if response.status_code == 200:
        assert data_of(response)["status"] in ("created", "failed")
    else:
        assert refused(response)[0] == 400


@given(body=BODIES, path=st.sampled_from(OTHERS))
def test_so_is_any_other_request(client: TestClient, body: Any, path: str) -> None:
    headers = {"Content-Type": "application/json"}
    response = client.post(f"{ROOT}/{path}", content=json.dumps(body), headers=headers)
    assert response.status_code == 200 or refused(response)[0] in (400, 404, 413)
