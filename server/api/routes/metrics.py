"""`GET /metrics`, and the middleware that counts requests. It needs a key if the settings say so."""

from typing import Any

from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.api.access.auth import ApiKeys, bearer_key
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
