from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from server.app import create_app
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.server.conftest import new_task, post


def test_behind_a_proxy(client: TestClient) -> None:
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "art.example"}
    (item,) = post(client, new_task(), headers=headers).json()["data"]
    assert item["imageURL"].startswith("https://art.example/image/")


def test_configured(settings: Settings, catalog: Catalog, worker: FakeWorker) -> None:
    app = create_app(settings.model_copy(update={"public_url": "https://cdn.example/x"}), catalog, [worker])
    with TestClient(app) as client:
        (item,) = post(client, new_task()).json()["data"]
        assert item["imageURL"].startswith("https://cdn.example/x/image/")
