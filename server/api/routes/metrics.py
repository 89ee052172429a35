"""`GET /metrics`, the middleware that counts requests, and the one that gives the route a port of its own.

The route needs a key if the settings say so.
"""

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response
from starlette.status import WS_1008_POLICY_VIOLATION
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.api.access.auth import ApiKeys, bearer_key
from server.errors import ApiError, NotFound
from server.jobs.queue import JobQueue
from server.metrics import Metrics


class CountRequests:
    """ASGI middleware that counts the answers to HTTP requests."""

    # Anyone can send any method; a label for each would grow without end.
    _METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on and count the status of its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                method = scope["method"] if scope["method"] in self._METHODS else "other"
                self._metrics.record_request(method, _pattern(scope.get("route")), message["status"])
            await send(message)

        await self._app(scope, receive, counted)


class MetricsPort:
    """ASGI middleware that serves /metrics at one port, and all other paths at the others."""

    _PATH = "/metrics"

    def __init__(self, app: ASGIApp, port: int, respond: Callable[[str, ApiError], Response]) -> None:
        self._app = app
        self._port = port
        self._respond = respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with 404. A WebSocket is refused with 403 there."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        is_metrics_port = (scope.get("server") or ("", None))[1] == self._port
        if is_metrics_port == (scope["path"] == self._PATH):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": WS_1008_POLICY_VIOLATION})
        else:
            what = "Only /metrics is" if is_metrics_port else "/metrics is not"
            await self._respond(scope["path"], NotFound(f"{what} served at this port."))(scope, receive, send)


def router(metrics: Metrics, queue: JobQueue, keys: ApiKeys | None) -> APIRouter:
    """The route of the counters and of the state of the queue. Without `keys` it is public."""
    routes = APIRouter(tags=["health"])

    @routes.get("/metrics", summary="Counters for Prometheus", response_class=Response)
    async def show(request: Request) -> Response:
        if keys is not None:
            keys.owner(bearer_key(request.headers))
        engaged = dict(zip(queue.devices, queue.engaged, strict=True))
        return Response(metrics.text(await queue.waiting(), engaged), media_type=CONTENT_TYPE_LATEST)

    return routes


def _pattern(route: Any) -> str:
    return getattr(route, "path", "unmatched")
