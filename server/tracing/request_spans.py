"""ASGI middleware that makes a span of each HTTP request. Needs the extra `otel`. Knows no dialect.

A span names the pattern of its path, never the path: the UUID of an image is its secret.
"""

from opentelemetry.trace import Status, StatusCode
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.tracing.otel_tracer import OtelTracer


class TraceRequests:
    """Takes the client's trace from the header `traceparent`, also for the tasks of a WebSocket."""

    def __init__(self, app: ASGIApp, tracer: OtelTracer) -> None:
        self._app = app
        self._tracer = tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, within its span."""
        if scope["type"] == "websocket":
            with self._tracer.connection(Headers(scope=scope)):
                await self._app(scope, receive, send)
        elif scope["type"] == "http":
            await self._trace(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _trace(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._tracer.request(Headers(scope=scope)) as span:

            async def noted(message: Message) -> None:
                if message["type"] == "http.response.start":
                    route = getattr(scope.get("route"), "path", None)
                    span.update_name(f"{scope['method']} {route}" if route else scope["method"])
                    span.set_attribute("http.request.method", scope["method"])
                    span.set_attribute("http.response.status_code", message["status"])
                    if route:
                        span.set_attribute("http.route", route)
                    if message["status"] >= 500:
                        span.set_status(Status(StatusCode.ERROR))
                await send(message)

            await self._app(scope, receive, noted)
