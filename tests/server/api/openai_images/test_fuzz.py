"""Whatever is sent, the answer is the vendor's images or the vendor's error object, and never a 500."""

import base64
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from server.api.openai_images.fields import EditFields
from tests.fakes import picture
from tests.server.api.openai_images.conftest import EDITS, GENERATIONS
from tests.server.api.runware.test_fuzz import JSON

NAMES = [*EditFields.model_fields, "image_urls", "callback_url"]
PICTURE = "data:image/png;base64," + base64.b64encode(picture()).decode()


def check(response: Any) -> None:
    body = response.json()
    if response.status_code == 200:
        assert body["data"]
        return
    assert response.status_code in (400, 404), response.text
    assert body.keys() == {"error"}
    assert {"message", "type", "param", "code"} <= body["error"].keys()
    assert body["error"]["message"]


@given(st.sampled_from([GENERATIONS, EDITS]), st.sampled_from(NAMES), JSON)
def test_any_value_of_any_field(client: TestClient, path: str, name: str, value: Any) -> None:
    body = {"prompt": "a", "size": "128x128", "image": PICTURE} | {name: value}
    check(client.post(path, json=body))


@given(st.sampled_from([GENERATIONS, EDITS]), st.binary(max_size=60))
def test_any_body(client: TestClient, path: str, body: bytes) -> None:
    check(client.post(path, content=body))


@given(st.sampled_from(NAMES), st.text(max_size=20), st.booleans(), st.binary(max_size=40))
def test_any_part_of_a_form(client: TestClient, name: str, text: str, as_file: bool, data: bytes) -> None:
    part = (name, ("upload", data)) if as_file else (name, (None, text.encode("utf-8", "replace")))
    check(client.post(EDITS, files=[("prompt", (None, "a")), ("image", ("a", picture())), part]))
