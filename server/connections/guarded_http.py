"""uvicorn's HTTP protocol with bounds: on the number of connections, and on the time that a request's head may take.

Knows uvicorn's and h11's protocols; knows no requests.
"""

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from server.connections.guard import ConnectionGuard

# For the head of a request, and for the rest of a body that the app does not read. A proxy sends heads whole.
HEAD_SECONDS = 20.0


class GuardedHttp(H11Protocol):
    """One HTTP connection of a server whose connections are counted by `guard`."""

    def __init__(self, *args: Any, guard: ConnectionGuard, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._guard = guard
        self._entered = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection, or refuse it."""
        super().connection_made(transport)
        self._entered = self._guard.enter(self._address)
        if self._entered:
            self._watch()
        else:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Pass the bytes on, and watch for an incomplete head or body."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Go on, and watch the rest of a body that the app does not read."""
        super().on_response_complete()
        self._watch()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        """Hand the connection over. The WebSocket counts it anew."""
        self._leave()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count one connection less."""
        self._leave()
        super().connection_lost(exc)

    @property
    def _address(self) -> str:
        return self.client[0] if self.client else ""

    def _leave(self) -> None:
        self._stop_timer()
        if self._entered:
            self._entered = False
            self._guard.leave(self._address)

    def _watch(self) -> None:
        """Time an incomplete head or body from its beginning, so that single bytes do not prolong it."""
        head = self.conn.their_state is h11.IDLE and self.timeout_keep_alive_task is None
        rest = self.conn.their_state is h11.SEND_BODY and self.conn.our_state in (h11.DONE, h11.MUST_CLOSE)
        if not (self._entered and (head or rest)):
            self._stop_timer()
        elif self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
