import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from server import app as app_module
from server.api.requests import client_of, read_object
from server.api.services import Services
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.server.api.test_dialect import SmallSurface


class EchoSurface(SmallSurface):
    """Answers with who has sent a request, and what is in it."""

    def add_routes(self, app: FastAPI) -> None:
        app.add_api_route("/echo", self.echo, methods=["POST"])

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self.services = services

    async def echo(self, request: Request) -> Response:
        client = client_of(request, self.services)
        body, sender = await read_object(request, client, self.services)
        return JSONResponse([client.owner, client.base_url, body, sender.size])


@pytest.mark.parametrize("header", ["Bearer one", "one"])
def test_the_sender_and_the_object(
    settings: Settings, catalog: Catalog, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch, header: str
) -> None:
    monkeypatch.setattr(app_module, "SURFACES", (*app_module.SURFACES, EchoSurface))
    app = app_module.create_app(settings.model_copy(update={"api_keys": ("one",)}), catalog, [worker])
    with TestClient(app, base_url="http://box:8000", headers={"Authorization": header}) as client:
        owner, base, body, size = client.post("/echo", content=b'{"a": [1]}').json()
        assert (len(owner), base, body, size) == (16, "http://box:8000", {"a": [1]}, 10)
        assert client.post("/echo", content=b"[]").status_code == 400
        assert client.post("/echo", headers={"Authorization": "two"}).status_code == 401
