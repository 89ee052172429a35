"""The large bodies of every dialect are parsed and checked beside the event loop, and small ones on it."""

import copy
import threading
from typing import Any

import pytest
from pydantic import BaseModel
from starlette.testclient import TestClient

from server.api.bodies.body_pool import LARGE_BODY

DIALECTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "wavespeed": ("/api/v3/wavespeed-ai/qwen-image/edit", {"prompt": "a"}, "image"),
    "runpod": ("/v2/qwen-image-edit/run", {"input": {"prompt": "a"}}, "image"),
    "evolink": ("/evolink/v1/images/generations", {"model": "qwen-image-edit-plus", "prompt": "a"}, "image_urls"),
    "openai": ("/openai/v1/images/edits", {"prompt": "a"}, "image"),
    "openai generations": ("/openai/v1/images/generations", {"prompt": "a"}, "image_of_nothing"),
    "wavespeed history": ("/api/v3/predictions", {"page": 0}, "image"),
    "evolink file": ("/evolink/api/v1/files/upload/base64", {}, "base64_data"),
}


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The first words of the names of the threads that validate fields."""
    found = set[str]()
    validate = BaseModel.model_validate.__func__  # type: ignore[attr-defined]

    def noted(model: type[BaseModel], *arguments: Any, **options: Any) -> Any:
        if model.__module__.startswith("server.api"):
            found.add(threading.current_thread().name.split("_")[0])
        return validate(model, *arguments, **options)

    monkeypatch.setattr(BaseModel, "model_validate", classmethod(noted))
    return found


def send(client: TestClient, name: str, picture: str) -> None:
    path, body, field = DIALECTS[name]
    value: Any = [picture] if field.endswith("s") else picture
    sent = copy.deepcopy(body)
    sent.get("input", sent)[field] = value
    client.post(path, json=sent, headers={"Authorization": "Bearer any"})


@pytest.mark.parametrize("name", DIALECTS)
def test_where_a_body_is_checked(shared_client: TestClient, threads: set[str], name: str) -> None:
    send(shared_client, name, "A" * LARGE_BODY)
    assert threads == {"body"}
    threads.clear()
    send(shared_client, name, "A" * 100)
    assert threads
    assert "body" not in threads
