"""What a dialect can ask of a WebSocket's connection beyond ASGI. Knows no dialect and no sockets."""

from collections.abc import Callable
from typing import Protocol

from starlette.websockets import WebSocket

EXTENSION = "ownware.control"  # in the scope's extensions


class SocketControl(Protocol):
    """One WebSocket connection, as `server.connections.guarded_socket` serves it."""

    def allow_large_messages(self) -> None:
        """Accept messages up to the server's limit from now on."""
        ...

    def when_received(self, received: Callable[[], None]) -> None:
        """Call `received` once the client has received all that was sent before.

        Closes the connection of a client that confirms nothing for too long.
        """
        ...

    def close_now(self, code: int, reason: str) -> None:
        """Close, also when the client reads nothing."""
        ...


def control_of(websocket: WebSocket) -> SocketControl | None:
    """The control of a connection. None where another server serves it, as in tests."""
    return websocket.scope.get("extensions", {}).get(EXTENSION)
