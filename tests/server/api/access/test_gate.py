from collections.abc import Iterator

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.types import Scope
from starlette.websockets import WebSocket, WebSocketDisconnect

from server.api.access.gate import MAX_REASON, Gate
from server.errors import ApiError, NotFound

MESSAGE = "Nothing is open here. " * 9


def refusal(scope: Scope) -> ApiError | None:
    return NotFound(MESSAGE) if scope["path"].startswith("/shut") else None


def respond(path: str, error: ApiError) -> Response:
    return PlainTextResponse(f"{path}: {error.message}", error.status)


async def open_path(_: object) -> Response:
    return PlainTextResponse("in")


async def open_socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


@pytest.fixture
def client() -> Iterator[TestClient]:
    routes = [Route("/{path:path}", open_path), WebSocketRoute("/{path:path}", open_socket)]
    app = Starlette(routes=routes, middleware=[Middleware(Gate, refusal=refusal, respond=respond)])
    with TestClient(app) as client:  # its lifespan passes the gate too
        yield client


def test_a_refused_request_is_answered_for_its_path(client: TestClient) -> None:
    assert client.get("/open").text == "in"
    refused = client.get("/shut/a")
    assert (refused.status_code, refused.text) == (404, f"/shut/a: {MESSAGE}")


def test_a_refused_socket_is_closed_with_a_reason_that_fits(client: TestClient) -> None:
    with client.websocket_connect("/open"):
        pass
    with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect("/shut"):
        pass
    assert (closed.value.code, closed.value.reason) == (1008, MESSAGE[:MAX_REASON])
