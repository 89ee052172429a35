"""Middleware that refuses requests before any route sees them. Knows no reason: a function says it."""

from collections.abc import Callable

from starlette.responses import Response
from starlette.status import WS_1008_POLICY_VIOLATION
from starlette.types import ASGIApp, Receive, Scope, Send

from server.errors import ApiError

MAX_REASON = 120  # characters; the frame that closes a WebSocket has room for 123 bytes


class Gate:
    """ASGI middleware that answers refused requests in the dialect of their path."""

    def __init__(
        self,
        app: ASGIApp,
        refusal: Callable[[Scope], ApiError | None],
        respond: Callable[[str, ApiError], Response],
    ) -> None:
        self._app = app
        self._refusal = refusal
        self._respond = respond

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request or a WebSocket on, or refuse it."""
        error = self._refusal(scope) if scope["type"] in ("http", "websocket") else None
        if error is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":  # closed before it is accepted: the client gets HTTP 403
            reason = error.message[:MAX_REASON]
            await send({"type": "websocket.close", "code": WS_1008_POLICY_VIOLATION, "reason": reason})
        else:
            await self._respond(scope["path"], error)(scope, receive, send)
