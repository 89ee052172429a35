"""uvicorn's WebSocket protocol with bounds: on connections, on bytes that are being received, on frames of strangers.

It also notices what a client has received. Knows uvicorn's and websockets' protocols; knows no messages.
"""

from asyncio.transports import BaseTransport
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from starlette.status import WS_1008_POLICY_VIOLATION, WS_1009_MESSAGE_TOO_BIG, WS_1013_TRY_AGAIN_LATER
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

from server.connections.body_budget import BodyBudget
from server.connections.control import EXTENSION
from server.connections.guard import ConnectionGuard
from server.errors import ServiceUnavailable

MAX_FRAGMENTS = 1000  # of one message: each takes more memory than its bytes
CLOSE_SECONDS = 10.0  # for a client to read what is left for it
# Pings that ask what was received and have no pong. Frames are sent one after the other: a client is few behind.
MAX_UNCONFIRMED = 2000
_MARK = b"ownware"  # begins those pings


class GuardedSocket(WebSocketsSansIOProtocol):
    """One WebSocket of a server. Messages have `small` bytes at most until larger ones are allowed."""

    def __init__(self, *args: Any, guard: ConnectionGuard, budget: BodyBudget, small: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._guard = guard
        self._budget = budget
        self._entered = False
        self._limit = self.conn.max_message_size
        self.conn.max_message_size = small
        self._waiting = 0  # bytes of messages that were not taken yet
        self._marks = 0
        self._expected = OrderedDict[bytes, Callable[[], None]]()
        self._late_pong = b""  # to the latest ping, while the client reads nothing

    def allow_large_messages(self) -> None:
        """Accept messages up to the server's limit from now on."""
        self.conn.max_message_size = self._limit

    def when_received(self, received: Callable[[], None]) -> None:
        """Send a ping. Its pong says that the client has received all that was sent before (RFC 6455 §5.5.3).

        A client that answers none of `MAX_UNCONFIRMED` pings is closed.
        """
        if self.close_sent or self.transport.is_closing():
            return
        if len(self._expected) >= MAX_UNCONFIRMED:
            self.close_now(WS_1008_POLICY_VIOLATION, "Pings are not answered.")
            return
        self._marks += 1
        mark = _MARK + self._marks.to_bytes(8, "big")
        self._expected[mark] = received
        self.conn.send_ping(mark)
        self.transport.write(b"".join(self.conn.data_to_send()))

    def close_now(self, code: int, reason: str) -> None:
        """Close, also when the client reads nothing: what it did not read is dropped after `CLOSE_SECONDS`."""
        if not self.close_sent and not self.transport.is_closing():
            self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})
            self.conn.send_close(code, reason)
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.close_sent = True
        self.loop.call_later(CLOSE_SECONDS, self.transport.abort)

    def connection_made(self, transport: BaseTransport) -> None:
        """Count the connection, or refuse it."""
        super().connection_made(transport)
        self._hold = self._budget.hold(self._address)
        self._entered = self._guard.enter(self._address)
        if not self._entered:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count one connection less, and hold nothing of it."""
        if self._entered:
            self._entered = False
            self._guard.leave(self._address)
        self._hold.set(0)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass the bytes on while there is room for them."""
        super().data_received(data)
        try:
            self._hold.set(self._held())
        except ServiceUnavailable as error:
            self.close_now(WS_1013_TRY_AGAIN_LATER, error.message)
            self.transport.abort()

    def handle_cont(self, event: Frame) -> None:
        """Add a fragment to a message of few."""
        super().handle_cont(event)
        if len(self.frames) > MAX_FRAGMENTS:
            self.frames = []
            self.close_now(WS_1009_MESSAGE_TOO_BIG, f"A message has more than {MAX_FRAGMENTS} fragments.")
            self.transport.abort()

    def handle_ping(self) -> None:
        """Answer a ping. A client that reads nothing gets the answer to its latest one later (RFC 6455 §5.5.3)."""
        if not (pong := b"".join(self.conn.data_to_send())):  # it went out with that of a ping before
            return
        if self.writable.is_set():
            self.transport.write(pong)
        else:
            self._late_pong = pong

    def resume_writing(self) -> None:
        """Go on sending: the client reads again."""
        super().resume_writing()
        if self._late_pong:
            self.transport.write(self._late_pong)
            self._late_pong = b""

    def handle_pong(self, event: Frame) -> None:
        """Note what the client has received."""
        mark = bytes(event.data)
        if not mark.startswith(_MARK):
            super().handle_pong(event)
        elif mark in self._expected:
            while True:  # a client may answer the last of several pings only
                expected, received = self._expected.popitem(last=False)
                received()
                if expected == mark:
                    return

    def send_receive_event_to_app(self) -> None:
        """Count a message that waits to be taken."""
        before = self.queue.qsize()
        super().send_receive_event_to_app()
        if self.queue.qsize() > before:  # a socket that is closing drops it
            self._waiting += _size(self.queue._queue[-1])  # type: ignore[attr-defined]

    async def receive(self) -> Any:
        """The next message. It no longer counts as being received."""
        message = await super().receive()
        self._waiting -= _size(message)
        self._hold.set(self._held())
        return message

    async def run_asgi(self) -> None:
        """Serve the connection, and end it also when its client reads nothing."""
        self.scope["extensions"][EXTENSION] = self  # type: ignore[typeddict-unknown-key]
        await super().run_asgi()
        self.loop.call_later(CLOSE_SECONDS, self.transport.abort)

    @property
    def _address(self) -> str:
        return self.client[0] if self.client else ""

    def _held(self) -> int:
        """The bytes of incomplete frames, incomplete messages, and messages that were not taken yet."""
        return len(self.conn.reader.buffer) + (self.conn.current_size or 0) + self._waiting


def _size(message: Any) -> int:
    """The characters or bytes of a received message. Other messages have none."""
    return len(message.get("text") or message.get("bytes") or "")
