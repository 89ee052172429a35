from typing import Any

from fastapi import FastAPI
from starlette.testclient import TestClient

from server.api.openapi import DESCRIPTION, install_docs


class FakeSurface:
    """Adds a path of its own."""

    def __init__(self, path: str) -> None:
        self.path = path

    def describe(self, document: dict[str, Any]) -> None:
        document["paths"][self.path] = {}


def test_each_dialect_describes_its_own_paths_once() -> None:
    app = FastAPI(title="Box", version="3")
    surfaces: Any = [FakeSurface("/v1"), FakeSurface("/v2")]
    install_docs(app, surfaces)
    document = TestClient(app).get("/openapi.json").json()
    assert list(document["paths"]) == ["/v1", "/v2"]
    assert document["info"] == {"title": "Box", "version": "3", "description": DESCRIPTION}
    surfaces.clear()
    assert TestClient(app).get("/openapi.json").json() == document


def test_the_page_needs_nothing_from_elsewhere(client: TestClient) -> None:
    page = client.get("/docs").text
    assert "swagger" in page
    assert "https://" not in page
    assert client.get("/", follow_redirects=False).headers["location"] == "/docs"
