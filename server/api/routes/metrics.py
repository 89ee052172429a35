"""`GET /metrics`, the middleware that counts requests, and what is refused where the route has a port of its own.

The route needs a key if the settings say so.
"""

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response
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


@dataclass(frozen=True, slots=True)
class MetricsPort:
    """A port that serves /metrics alone. The others then serve all other paths."""

    port: int

    def refusal(self, scope: Scope) -> ApiError | None:
        """Why a request or a WebSocket is refused. None if it came in at the right port."""
        at_port = (scope.get("server") or ("", None))[1] == self.port
        if at_port == (scope["path"] == "/metrics"):
            return None
        what = "Only /metrics is" if at_port else "/metrics is not"
        return NotFound(f"{what} served at this port.")


def router(metrics: Metrics, queue: JobQueue, keys: ApiKeys | None) -> APIRouter:
    """The route of the counters and of the state of the queue. Without `keys` it is public."""
    routes = APIRouter(tags=["health"])

    @routes.get("/metrics", summary="Counters for Prometheus", response_class=Response)
    async def show(request: Request) -> Response:
        if keys is not None:
            keys.owner(bearer_key(request.headers))
        engaged = dict(zip(queue.workers.devices, queue.workers.engaged, strict=True))
        return Response(metrics.text(await queue.waiting(), engaged), media_type=CONTENT_TYPE_LATEST)

    return routes


def _pattern(route: Any) -> str:
    return getattr(route, "path", "unmatched")
