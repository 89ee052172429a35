import pytest

from server.settings import Settings


@pytest.fixture(scope="session")
def default_settings(default_settings: Settings) -> Settings:
    return default_settings.model_copy(update={"api_keys": ("one", "two")})


@pytest.fixture(scope="session")
def client_headers() -> dict[str, str]:
    return {"Authorization": "Bearer one"}
