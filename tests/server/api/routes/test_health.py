from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from server.app import create_app
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.server.conftest import error_of, new_task, post


def test_alive_and_ready(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok", "devices": ["fake device"]}
    assert client.get("/readyz").json()["status"] == "ready"


def test_not_ready(settings: Settings, catalog: Catalog) -> None:
    worker = FakeWorker()
    worker.start_failure = "no weights"
    with TestClient(create_app(settings, catalog, [worker])) as client:
        assert client.get("/healthz").status_code == 200
        response = client.get("/readyz")
        assert (response.status_code, response.json()["status"]) == (503, "no weights")
        refused = post(client, new_task())
        assert refused.status_code == 503
        assert error_of(refused)["code"] == "modelNotReady"
