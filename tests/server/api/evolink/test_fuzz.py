"""Whatever is sent, the answer is a task or the vendor's error object, and never a 500."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from server.api.evolink.fields import CreateFields
from tests.server.api.evolink.conftest import BODY, FILES, TASKS
from tests.server.api.runware.test_fuzz import JSON

CREATE = "/evolink/v1/images/generations"
POSTS = [CREATE, TASKS + "/batch", FILES + "/upload/base64", FILES + "/upload/stream", FILES + "/upload/url"]


def check(response: Any) -> None:
    if response.status_code != 200:
        assert response.status_code in (400, 404, 405, 429), response.text
        assert response.json().keys() == {"error"}
        assert {"message", "type", "code"} <= response.json()["error"].keys()


@given(
    st.sampled_from([*CreateFields.model_fields, "task_ids", "base64_data", "file_url"]), JSON, st.sampled_from(POSTS)
)
def test_any_value_of_any_field(client: TestClient, name: str, value: Any, path: str) -> None:
    check(client.post(path, json=BODY | {name: value}))


@given(st.sampled_from(POSTS), st.binary(max_size=60))
def test_any_body(client: TestClient, path: str, body: bytes) -> None:
    check(client.post(path, content=body))


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=100), st.text(max_size=20))
def test_any_key_and_any_query(client: TestClient, key: str, text: str) -> None:
    check(client.post(CREATE, json=BODY, headers={"Idempotency-Key": key}))
    check(client.get(TASKS, params={"page": text, "status": text, "model": text, "type": text}))
