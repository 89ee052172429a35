"""Two vendors at one path: each call goes to one of them, and its answer says to which."""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import pytest
from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.testclient import TestClient

from pipelines.catalog.catalog import Catalog
from server import app as app_module
from server.api.access.client import Client
from server.api.generations_route import DIALECT_HEADER, ROUTE, GenerationsRoute
from server.api.services import Services
from server.errors import ApiError, InvalidParameter, TaskRejected
from server.settings import Settings
from tests.fakes import FakeWorker
from tests.server.api.test_dialect import SmallSurface


class Other:
    """Recognizes a field or a header, and answers with its name."""

    name: ClassVar[str] = "other"
    prefix: ClassVar[str] = "/other"

    def recognizes(self, headers: Headers, body: Mapping[str, Any]) -> bool:
        return "mine" in body or "x-other" in headers

    async def generate(self, request: Request, client: Client, body: Mapping[str, Any]) -> Response:
        if body.get("mine") == "bad":
            raise TaskRejected(InvalidParameter("mine", "bad"))
        return JSONResponse([self.name, client.base_url])

    def error_response(self, *errors: ApiError) -> Response:
        return JSONResponse([self.name, errors[0].code], errors[0].status)


class Last(Other):
    name: ClassVar[str] = "last"
    prefix: ClassVar[str] = "/last"

    def recognizes(self, headers: Headers, body: Mapping[str, Any]) -> bool:
        return False


class Surface(SmallSurface):
    """Adds the two to the application, with its services."""

    def __init__(self, services: Services) -> None:
        super().__init__(services)
        self.services = services

    def add_routes(self, app: FastAPI) -> None:
        GenerationsRoute(self.services).add(app, [Other(), Last()])


@pytest.fixture
def client(
    settings: Settings, catalog: Catalog, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> Iterator[TestClient]:
    monkeypatch.setattr(app_module, "SURFACES", (app_module.RunwareSurface, Surface))
    app = app_module.create_app(settings.model_copy(update={"api_keys": ("one",)}), catalog, [worker])
    with TestClient(app, base_url="http://box:8000", headers={"Authorization": "Bearer one"}) as client:
        yield client


@pytest.mark.parametrize(
    ("path", "body", "headers", "name"),
    [
        (ROUTE, {"mine": 1}, {}, "other"),
        (ROUTE, {}, {"X-Other": "1"}, "other"),
        (ROUTE, {}, {}, "last"),
        ("/last" + ROUTE, {"mine": 1}, {}, "last"),
        ("/other" + ROUTE, {}, {}, "other"),
    ],
)
def test_who_answers(client: TestClient, path: str, body: dict[str, Any], headers: dict[str, str], name: str) -> None:
    response = client.post(path, json=body, headers=headers)
    assert (response.json(), response.headers[DIALECT_HEADER]) == ([name, "http://box:8000"], name)


@pytest.mark.parametrize(
    ("content", "headers", "answer"),
    [
        (b'{"mine": "bad"}', {}, ["other", "invalidMine"]),
        (b"[]", {}, ["last", "invalidRequest"]),
        (b"[]", {"X-Other": "1"}, ["other", "invalidRequest"]),
        (b"{}", {"Authorization": "Bearer two"}, ["last", "invalidApiKey"]),
    ],
)
def test_an_error_says_who_answers_too(
    client: TestClient, content: bytes, headers: dict[str, str], answer: list[str]
) -> None:
    response = client.post(ROUTE, content=content, headers=headers)
    assert (response.json(), response.headers[DIALECT_HEADER]) == (answer, answer[0])


def test_without_a_dialect_there_is_no_path(settings: Settings, catalog: Catalog, worker: FakeWorker) -> None:
    settings = settings.model_copy(update={"dialects": ("runware",)})
    with TestClient(app_module.create_app(settings, catalog, [worker]), base_url="http://box:8000") as client:
        response = client.post(ROUTE, json={})
        assert response.status_code == 404
        assert "switched off" in response.json()["error"]["message"]
