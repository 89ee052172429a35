import pytest
from starlette.testclient import TestClient

from server.settings import Settings


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"api_keys": ("one", "two")})


@pytest.fixture
def client(client: TestClient) -> TestClient:
    """A client with one of two keys, sent bare as in the vendor's examples."""
    client.headers["Authorization"] = "one"
    return client
