from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from server.app import create_app
from server.settings import Settings
from tests.fakes import FakeWorker


@pytest.fixture
def client(settings: Settings, catalog: Catalog, worker: FakeWorker) -> Iterator[TestClient]:
    """A client with one of two keys."""
    settings = settings.model_copy(update={"api_keys": ("one", "two")})
    app = create_app(settings, catalog, [worker])
    headers = {"Authorization": "Bearer one"}
    with TestClient(app, base_url="http://box:8000", raise_server_exceptions=False, headers=headers) as client:
        yield client
