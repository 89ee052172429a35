from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.testclient import TestClient

from server.api.request_route import add_request_route


async def show(request: Request) -> Response:
    return JSONResponse([request.path_params, request.scope["route"].path])


@pytest.fixture
def client() -> Iterator[TestClient]:
    app = FastAPI()
    add_request_route(app, "/jobs/{job}", show, "GET", "POST")
    add_request_route(app, "/{rest:path}", show, "GET")
    with TestClient(app) as client:
        yield client


def test_the_handler_reads_the_path_and_the_metrics_its_pattern(client: TestClient) -> None:
    assert client.get("/jobs/7").json() == [{"job": "7"}, "/jobs/{job}"]
    assert client.post("/jobs/8").json() == [{"job": "8"}, "/jobs/{job}"]


def test_the_first_route_that_matches_answers(client: TestClient) -> None:
    assert client.get("/jobs/7/more").json() == [{"rest": "jobs/7/more"}, "/{rest:path}"]


@pytest.mark.parametrize("method", ["HEAD", "DELETE"])
def test_no_other_method_is_answered(client: TestClient, method: str) -> None:
    response = client.request(method, "/jobs/7")
    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) == {"GET", "POST"}


def test_it_stays_out_of_the_generated_documentation(client: TestClient) -> None:
    assert client.get("/openapi.json").json()["paths"] == {}
