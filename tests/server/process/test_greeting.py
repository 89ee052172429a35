"""The greeting follows the catalogue and the settings, and its command sends a task that is accepted."""

import json
from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from pipelines.catalog.models_file import load_catalog
from server.process.greeting import greeting, local_url
from server.settings import Settings

URL = "http://127.0.0.1:8000"


def greet(catalog: Catalog, keys: bool = False) -> str:
    return greeting(URL, Settings(), catalog, ("cpu",), keys_required=keys)


def sent(text: str) -> list[dict[str, Any]]:
    """The tasks of the command, with a task UUID as the shell makes it."""
    body = text.rpartition(" -d '")[2].removesuffix("'")
    before, _, rest = body.partition("'$(")
    return json.loads(before + "9b6b3a39-61c7-4b5f-9a0e-3f0f4f6f7a13" + rest.partition(")'")[2])


def test_the_command_sends_a_key_where_one_is_required() -> None:
    catalog = load_catalog().with_embedded_weights()
    assert "-H 'Content-Type" in greet(catalog)
    assert "Authorization" not in greet(catalog)
    assert "API keys: required" in greet(catalog, keys=True)
    assert '-H "Authorization: Bearer $RUNWARE_API_KEY"' in greet(catalog, keys=True)


def test_the_command_names_the_first_text_to_image_model() -> None:
    catalog = load_catalog()
    own = replace(catalog.entries[0], air="my:1@1")
    assert [task["model"] for task in sent(greet(replace(catalog, entries=(*catalog.entries[1:3], own))))] == ["my:1@1"]


def test_the_command_edits_where_no_model_makes_images_from_text() -> None:
    catalog = load_catalog()
    (task,) = sent(greet(replace(catalog, entries=catalog.entries[1:3])))
    assert task["model"] == "runware:108@20"
    assert task["inputs"] == {"referenceImages": ["<URL of a picture>"]}


def test_the_server_accepts_the_task_of_the_command(client: TestClient) -> None:
    response = client.post("/v1", json=sent(greet(load_catalog().with_embedded_weights())))
    assert response.status_code == 200
    assert response.json()["data"][0]["seed"] == 7


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://127.0.0.1:8000"),
        ("10.0.0.2", "http://10.0.0.2:8000"),
        ("::1", "http://[::1]:8000"),
    ],
)
def test_the_url_that_reaches_a_listening_socket(host: str, url: str) -> None:
    assert local_url(host, 8000) == url
