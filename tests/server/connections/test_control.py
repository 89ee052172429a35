import asyncio

from starlette.websockets import WebSocket

from server.connections.control import EXTENSION, control_of


def test_only_our_own_connections_have_one() -> None:
    control = object()
    for extensions, found in (({}, None), ({EXTENSION: control}, control)):
        scope = {"type": "websocket", "extensions": extensions}
        assert control_of(WebSocket(scope, asyncio.Queue().get, asyncio.Queue().put)) is found
