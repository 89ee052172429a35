"""What is beside the Runware surface: images, health, documentation, and the framework's own errors."""

import sqlite3
import threading
import time
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from server.api.runware.schema.tasks import TASKS
from server.app import create_app
from server.media.store import MediaStore
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.server.conftest import error_of, new_task, post


class TestImages:
    def test_they_expire(self, client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
        (item,) = post(client, new_task(ttl=60)).json()["data"]
        image = client.get(item["imageURL"])
        assert image.status_code == 200
        assert 55 <= int(image.headers["cache-control"].split("=")[1]) <= 60
        later = time.time() + 61
        monkeypatch.setattr(time, "time", lambda: later)
        response = client.get(item["imageURL"])
        assert response.status_code == 404
        assert error_of(response)["code"] == "imageNotFound"

    def test_a_base64_result_that_expired_is_an_error(
        self, client: TestClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task = new_task(outputType="base64Data")
        post(client, task)
        later = time.time() + 86_500
        monkeypatch.setattr(time, "time", lambda: later)
        body = post(client, {"taskType": "getResponse", "taskUUID": task["taskUUID"]}).json()
        assert [error["code"] for error in body["errors"]] == ["imageNotFound"]

    GONE = "3f0e8a52-6d0b-4a3e-9f5e-1f2d3c4b5a69.jpg"

    @pytest.mark.parametrize("name", ["x.jpg", GONE, "..%2fownware.sqlite", "%00"])
    def test_there_is_nothing_else(self, client: TestClient, name: str) -> None:
        response = client.get(f"/image/{name}")
        assert response.status_code == 404
        assert error_of(response)["code"] in ("imageNotFound", "routeNotFound")

    def test_what_a_client_sent_along_is_not_published(
        self, client: TestClient, worker: FakeWorker, reference: str
    ) -> None:
        post(client, new_task(model="runware:108@20", referenceImages=[reference]))
        kept = worker.jobs[0].request.references[0].path
        assert kept.exists()
        assert client.get(f"/image/{kept.name}").status_code == 404

    def test_another_extension_is_another_image(self, client: TestClient) -> None:
        (item,) = post(client, new_task()).json()["data"]
        assert client.get(item["imageURL"].replace(".jpg", ".png")).status_code == 404
        assert client.head(item["imageURL"]).status_code == 200


class TestHealth:
    def test_alive_and_ready(self, client: TestClient) -> None:
        assert client.get("/healthz").json() == {"status": "ok", "devices": ["fake device"]}
        assert client.get("/readyz").json()["status"] == "ready"

    def test_not_ready(self, settings: Settings, catalog: Catalog) -> None:
        worker = FakeWorker()
        worker.start_failure = "no weights"
        with TestClient(create_app(settings, catalog, [worker])) as client:
            assert client.get("/healthz").status_code == 200
            response = client.get("/readyz")
            assert (response.status_code, response.json()["status"]) == (503, "no weights")
            refused = post(client, new_task())
            assert refused.status_code == 503
            assert error_of(refused)["code"] == "modelNotReady"


class TestDocs:
    def test_the_document_describes_every_task(self, client: TestClient) -> None:
        document = client.get("/openapi.json").json()
        body = document["paths"]["/v1"]["post"]["requestBody"]["content"]["application/json"]
        assert set(body["schema"]["items"]["discriminator"]["mapping"]) == set(TASKS)
        schemas = document["components"]["schemas"]
        assert schemas["ImageInference"]["required"] == ["taskUUID", "taskType", "model", "positivePrompt"]
        assert resolved(document, body["schema"])

    def test_the_examples_are_accepted(self, client: TestClient, reference: str) -> None:
        document = client.get("/openapi.json").json()
        body = document["paths"]["/v1"]["post"]["requestBody"]["content"]["application/json"]
        for example in body["examples"].values():
            for task in example["value"]:
                if "inputs" in task:
                    task["inputs"]["referenceImages"] = [reference]
                if "inputImage" in task:
                    task["inputImage"] = reference
                assert post(client, task).status_code == 200

    def test_the_page_needs_nothing_from_elsewhere(self, client: TestClient) -> None:
        page = client.get("/docs").text
        assert "swagger" in page
        assert "https://" not in page
        assert client.get("/", follow_redirects=False).headers["location"] == "/docs"


def resolved(document: dict[str, Any], node: Any) -> bool:
    """Follow every reference below a node; a dangling one raises KeyError."""
    if isinstance(node, dict):
        if "$ref" in node:
            target = document
            for name in node["$ref"].removeprefix("#/").split("/"):
                target = target[name]
            node = target
        return all(resolved(document, value) for value in node.values())
    return not isinstance(node, list) or all(resolved(document, value) for value in node)


class TestFrameworkErrors:
    @pytest.mark.parametrize(
        ("method", "path", "status", "code"),
        [
            ("GET", "/nothing", 404, "routeNotFound"),
            ("GET", "/v1", 405, "unsupportedMethod"),
            ("DELETE", "/v1", 405, "unsupportedMethod"),
            ("POST", "/healthz", 405, "unsupportedMethod"),
        ],
    )
    def test_routes(self, client: TestClient, method: str, path: str, status: int, code: str) -> None:
        response = client.request(method, path)
        assert response.status_code == status
        assert error_of(response)["code"] == code
        assert "detail" not in response.json()

    def test_a_bug_is_not_told(self, client: TestClient, monkeypatch: pytest.MonkeyPatch, worker: FakeWorker) -> None:
        def broken(*arguments: object) -> None:
            raise RuntimeError("secret")

        monkeypatch.setattr("server.api.runware.handlers.inference.to_request", broken)
        response = post(client, new_task())
        assert response.status_code == 500
        assert error_of(response)["code"] == "internalServerError"
        assert "secret" not in response.text
        monkeypatch.setattr("server.api.runware.http.parse_tasks", broken)
        response = post(client, new_task())
        assert response.status_code == 500
        assert error_of(response)["code"] == "internalServerError"

    def test_browsers_may_call(self, client: TestClient) -> None:
        headers = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
        assert client.options("/v1", headers=headers).headers["access-control-allow-origin"] == "*"


def test_what_has_expired_is_deleted_also_after_a_failure(
    settings: Settings, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    swept = threading.Event()
    sweep = MediaStore.sweep

    async def full(self: MediaStore, now: float) -> int:
        monkeypatch.setattr(MediaStore, "sweep", again)
        raise sqlite3.OperationalError("database or disk is full")

    async def again(self: MediaStore, now: float) -> int:
        swept.set()
        return await sweep(self, now)

    monkeypatch.setattr(MediaStore, "sweep", full)
    monkeypatch.setattr("server.app.SWEEP_SECONDS", 0.01)
    with TestClient(create_app(settings, catalog, [FakeWorker()])):
        swept.wait()
