import base64
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from server.app import create_app
from server.settings import Settings
from tests.fakes import FakeWorker, picture

KEY = {"Authorization": "Bearer one"}
CREATE, TASKS, FILES = "/v1/images/generations", "/v1/tasks", "/api/v1/files"
PNG = picture(480, 400)
PICTURE = "data:image/png;base64," + base64.b64encode(PNG).decode()
BODY = {"model": "qwen-image-edit-plus", "prompt": "Replace the background", "image_urls": [PICTURE], "seed": 7}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"api_keys": ("one", "two")})


@pytest.fixture
def client(settings: Settings, catalog: Catalog, worker: FakeWorker) -> Iterator[TestClient]:
    app = create_app(settings, catalog, [worker])
    with TestClient(app, base_url="http://box:8000", raise_server_exceptions=False, headers=KEY) as client:
        yield client
