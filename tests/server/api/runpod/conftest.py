import pytest
from starlette.testclient import TestClient

from server.settings import Settings

TWO_KEYS = {"api_keys": ("one", "two")}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update=TWO_KEYS)


@pytest.fixture(scope="module")
def shared_settings(shared_settings: Settings) -> Settings:
    return shared_settings.model_copy(update=TWO_KEYS)


@pytest.fixture
def client(client: TestClient) -> TestClient:
    """A client with one of two keys, sent bare as in the vendor's examples."""
    client.headers["Authorization"] = "one"
    return client


@pytest.fixture(scope="module")
def shared_client(shared_client: TestClient) -> TestClient:
    shared_client.headers["Authorization"] = "one"
    return shared_client
