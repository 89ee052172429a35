from typing import Any

import pytest
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from server.app import create_app
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.server.conftest import error_of, new_task, post


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def test_a_running_task_is_cancelled_once(client: TestClient, worker: FakeWorker) -> None:
    worker.hold()
    task = new_task(deliveryMethod="async")
    post(client, task)
    worker.held.wait()
    for status in ("cancelled", "ended"):
        response = client.delete(f"/v1/tasks/{task['taskUUID']}")
        assert response.status_code == 200
        assert response.json() == {"taskUUID": task["taskUUID"], "status": status}


@pytest.mark.parametrize("name", ["nothing", "7b1f6f0e-2c3b-4a55-9d43-0a4a0f3e7b10", "%00", "x" * 2000, "%F0%9F%98%80"])
def test_an_unknown_task_is_not_found(shared_client: TestClient, name: str) -> None:
    response = shared_client.delete(f"/v1/tasks/{name}")
    assert (response.status_code, error_of(response)["code"]) == (404, "taskNotFound")


def test_a_task_is_cancelled_with_its_own_key_only(settings: Settings, catalog: Catalog, worker: FakeWorker) -> None:
    worker.hold()
    task = new_task(deliveryMethod="async")
    app = create_app(settings.model_copy(update={"api_keys": ("one", "two")}), catalog, [worker])
    with TestClient(app, base_url="http://box:8000") as client:
        post(client, task, headers=bearer("one"))
        worker.held.wait()

        def cancel(headers: dict[str, str]) -> tuple[int, Any]:
            response = client.delete(f"/v1/tasks/{task['taskUUID']}", headers=headers)
            return response.status_code, response.json().get("error", {}).get("code")

        assert cancel({}) == (401, "missingApiKey")
        assert cancel(bearer("three")) == (401, "invalidApiKey")
        assert cancel(bearer("two")) == (404, "taskNotFound")
        assert cancel(bearer("one")) == (200, None)


def test_it_is_in_the_api_pages(client: TestClient) -> None:
    described = client.get("/openapi.json").json()["paths"]["/v1/tasks/{task_id}"]["delete"]
    assert {"200", "401", "404", "503"} <= set(described["responses"])
