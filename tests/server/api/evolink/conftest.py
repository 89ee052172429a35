import base64
from typing import Any

import pytest
from starlette.testclient import TestClient

from server.settings import Settings
from tests.fakes import picture

KEY = {"Authorization": "Bearer one"}
CREATE, TASKS, FILES = "/v1/images/generations", "/v1/tasks", "/api/v1/files"
PNG = picture(480, 400)
PICTURE = "data:image/png;base64," + base64.b64encode(PNG).decode()
BODY = {"model": "qwen-image-edit-plus", "prompt": "Replace the background", "image_urls": [PICTURE], "seed": 7}


@pytest.fixture(scope="session")
def default_settings(default_settings: Settings) -> Settings:
    return default_settings.model_copy(update={"api_keys": ("one", "two")})


@pytest.fixture(scope="session")
def client_headers() -> dict[str, str]:
    return KEY


def ended(client: TestClient, task_id: str) -> dict[str, Any]:
    """A task as a query has it at its end."""
    for _ in range(10_000):
        task = client.get(f"{TASKS}/{task_id}").json()
        if task["status"] in ("completed", "failed"):
            return task
    raise AssertionError("the task never ended")
