"""FastAPI's own errors, each in the dialect of its path."""

from typing import Annotated, Any

import pytest
from fastapi import FastAPI, Query
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.testclient import TestClient

from server.api.exception_handlers import install_handlers
from server.errors import ApiError, InvalidParameter, NotFound, TaskRejected
from tests.server.conftest import error_of


class FakeSurface:
    """Answers with its own name, and the code of the error."""

    def __init__(self, name: str, *paths: str) -> None:
        self.name = name
        self.paths = paths

    def error_response(self, *errors: ApiError) -> Response:
        return JSONResponse([self.name, *(error.code for error in errors)], errors[0].status)


@pytest.fixture
def app() -> FastAPI:
    app = FastAPI()
    surfaces: Any = [FakeSurface("first", "/v1", "/"), FakeSurface("other", "/v1/images", "/v2")]
    install_handlers(app, surfaces, surfaces)
    return app


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/nothing", "first"),
        ("/v1/nothing", "first"),
        ("/v1/images", "other"),
        ("/v1/images/generations", "other"),
        ("/v2/nothing", "other"),
    ],
)
def test_the_longest_prefix_of_a_path_chooses_the_dialect(app: FastAPI, path: str, name: str) -> None:
    assert TestClient(app).get(path).json() == [name, "routeNotFound"]


def test_all_errors_of_a_task_are_answered(app: FastAPI) -> None:
    @app.get("/v2/fails")
    def fails() -> None:
        raise TaskRejected(InvalidParameter("width", "no"), NotFound("gone"))

    response = TestClient(app).get("/v2/fails")
    assert (response.status_code, response.json()) == (400, ["other", "invalidWidth", "routeNotFound"])


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (NotFound("gone", code="imageNotFound"), 404, "imageNotFound"),
        (HTTPException(405), 405, "unsupportedMethod"),
        (HTTPException(415), 400, "invalidRequest"),
        (RequestValidationError([]), 400, "invalidRequest"),
        (RuntimeError("secret"), 500, "internalServerError"),
    ],
)
def test_every_error_is_one_of_ours(app: FastAPI, error: Exception, status: int, code: str) -> None:
    @app.get("/v2/fails")
    def fails() -> None:
        raise error

    response = TestClient(app, raise_server_exceptions=False).get("/v2/fails")
    assert (response.status_code, response.json()) == (status, ["other", code])


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "routeNotFound"),
        ("GET", "/v1", 405, "unsupportedMethod"),
        ("DELETE", "/v1", 405, "unsupportedMethod"),
        ("POST", "/healthz", 405, "unsupportedMethod"),
    ],
)
def test_paths_of_no_other_dialect_answer_in_runwares(
    shared_client: TestClient, method: str, path: str, status: int, code: str
) -> None:
    response = shared_client.request(method, path)
    assert response.status_code == status
    assert error_of(response)["code"] == code
    assert "detail" not in response.json()


def test_a_method_that_does_not_apply_is_answered_with_those_that_do(app: FastAPI) -> None:
    app.add_api_route("/v2", lambda: None, methods=["GET"])
    response = TestClient(app).post("/v2")
    assert (response.status_code, response.headers["Allow"]) == (405, "GET")


@pytest.mark.parametrize(
    ("query", "code"),
    [("", "missingNumber"), ("number=x", "invalidNumber"), ("number=1&name=x", "invalidName")],
)
def test_an_error_of_a_query_names_its_parameter(app: FastAPI, query: str, code: str) -> None:
    @app.get("/v2/counts")
    def counts(number: int, name: int = 0) -> None: ...

    response = TestClient(app).get(f"/v2/counts?{query}")
    assert (response.status_code, response.json()) == (400, ["other", code])


def test_an_unknown_parameter_of_a_query_is_named(app: FastAPI) -> None:
    class Names(BaseModel):
        model_config = ConfigDict(extra="forbid")

    @app.get("/v2/names")
    def names(query: Annotated[Names, Query()]) -> None: ...

    assert TestClient(app).get("/v2/names?x=1").json() == ["other", "unknownParameter"]


def test_an_error_of_another_part_names_nothing(app: FastAPI) -> None:
    @app.get("/v2/items/{number}")
    def item(number: int) -> None: ...

    assert TestClient(app).get("/v2/items/x").json() == ["other", "invalidRequest"]
