import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import websockets
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection
from websockets.frames import Frame, Opcode

from server.connections import guarded_socket
from server.connections.body_budget import BodyBudget
from server.connections.control import control_of
from tests.server.connections.servers import LARGE, guarded_server


class Echo:
    """Sends every message back. `large` allows large ones, and `close` closes at once."""

    def __init__(self) -> None:
        self.socket: Any = None  # what serves the connection
        self.received = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()
        self.ended = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        websocket = WebSocket(scope, receive, send)
        await websocket.accept()
        control = control_of(websocket)
        assert control is not None
        self.socket = control
        try:
            while True:
                await self.go.wait()
                text = await websocket.receive_text()
                if text == "large":
                    control.allow_large_messages()
                if text == "close":
                    control.close_now(1013, "read more")
                await websocket.send_text(text)
                control.when_received(self.received.set)
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            self.ended.set()


def connect(port: int, **options: Any) -> Any:
    return websockets.connect(f"ws://127.0.0.1:{port}/", compression=None, **options)


async def close_code(socket: ClientConnection) -> int | None:
    await socket.wait_closed()
    return socket.close_code


async def test_messages_are_small_until_large_ones_are_allowed() -> None:
    async with guarded_server(Echo()) as port:
        async with connect(port) as socket:
            await socket.send("a" * 101)
            assert await close_code(socket) == 1009
        async with connect(port) as socket:
            for text in ("large", "a" * 101, "a" * LARGE):
                await socket.send(text)
                assert await socket.recv() == text
            await socket.send("a" * (LARGE + 1))
            assert await close_code(socket) == 1009


async def test_what_a_client_has_received_is_noticed() -> None:
    echo = Echo()
    async with guarded_server(echo) as port, connect(port) as socket:
        await socket.send("a")
        await echo.received.wait()
        assert await socket.recv() == "a"


async def test_a_pong_that_was_not_asked_for_says_nothing() -> None:
    echo = Echo()
    async with guarded_server(echo) as port, connect(port) as socket:
        for mark in (b"ownware", b"ownware" + bytes(8), b"another"):
            await socket.pong(mark)
        await socket.send("a")
        assert await socket.recv() == "a"
        await echo.received.wait()


async def test_a_client_that_answers_no_pings_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each frame left a function behind that waits for its pong."""
    monkeypatch.setattr(guarded_socket, "MAX_UNCONFIRMED", 3)
    async with guarded_server(Echo()) as port, connect(port) as socket:
        send = socket.protocol.send_frame
        socket.protocol.send_frame = lambda frame: None if frame.opcode is Opcode.PONG else send(frame)
        for text in ("a", "b", "c", "d"):
            await socket.send(text)
            assert await socket.recv() == text
        assert await close_code(socket) == 1008


async def test_pings_of_a_client_that_reads_nothing_are_answered_once() -> None:
    """Every ping left a pong in the memory of the server."""
    echo = Echo()
    async with guarded_server(echo) as port, connect(port) as socket:
        await socket.send("a")
        await socket.recv()
        pongs: list[bytes] = []
        receive = socket.protocol.recv_frame

        def note(frame: Frame) -> None:
            if frame.opcode is Opcode.PONG:
                pongs.append(bytes(frame.data))
            receive(frame)

        socket.protocol.recv_frame = note
        echo.socket.pause_writing()
        for mark in (b"1", b"2", b"3"):
            answered = await socket.ping(mark)
            while not echo.socket._late_pong.endswith(mark):  # noqa: ASYNC110  it has no event
                await asyncio.sleep(0.005)
        echo.socket.resume_writing()
        await answered
        assert pongs == [b"3"]
        await (await socket.ping(b"4"))
        assert pongs == [b"3", b"4"]


async def test_a_client_that_reads_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded_socket, "CLOSE_SECONDS", 0.05)
    echo = Echo()
    async with guarded_server(echo) as port, connect(port) as socket:
        await socket.send("close")
        assert await close_code(socket) == 1013
        await echo.ended.wait()


async def fragments(number: int) -> AsyncIterator[str]:
    for _ in range(number):
        yield "a"


async def test_a_message_has_few_fragments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded_socket, "MAX_FRAGMENTS", 10)
    async with guarded_server(Echo()) as port:
        async with connect(port) as socket:
            await socket.send(fragments(9))
            assert await socket.recv() == "a" * 9
        async with connect(port) as socket:
            with contextlib.suppress(websockets.ConnectionClosed):
                await socket.send(fragments(2000))
            with pytest.raises(websockets.ConnectionClosed):
                await socket.recv()


@pytest.mark.parametrize("part", [lambda: fragments(60), lambda: "a" * 60], ids=["fragments", "whole"])
async def test_messages_on_their_way_share_a_budget(part: Callable[[], Any]) -> None:
    echo, budget = Echo(), BodyBudget(200)
    echo.go.clear()
    async with guarded_server(echo, budget=budget) as port, connect(port) as first, connect(port) as second:
        await first.send(part())
        while budget.held < 60:  # noqa: ASYNC110  the budget has no event
            await asyncio.sleep(0.005)
        await second.send(part())
        with pytest.raises(websockets.ConnectionClosed):
            await second.recv()
        echo.go.set()
        assert await first.recv() == "a" * 60
        assert budget.held == 0


async def test_messages_that_wait_count_until_each_is_taken() -> None:
    echo, budget = Echo(), BodyBudget(200)
    echo.go.clear()
    async with guarded_server(echo, budget=budget) as port, connect(port) as socket:
        for text in (b"a" * 30, b"b" * 40):
            socket.protocol.send_text(text)
        socket.send_data()  # both at once: the server reads no more while one waits
        while budget.held < 70:  # noqa: ASYNC110  the budget has no event
            await asyncio.sleep(0.005)
        assert budget.held == 70
        echo.go.set()
        assert [await socket.recv(), await socket.recv()] == ["a" * 30, "b" * 40]
        assert budget.held == 0


async def test_connections_over_the_bound_are_closed() -> None:
    async with guarded_server(Echo(), connections=4) as port, connect(port), connect(port) as second:
        with pytest.raises((websockets.InvalidHandshake, ConnectionError, EOFError)):
            await connect(port)
        await second.close()
        async with connect(port) as socket:
            await socket.send("a")
            assert await socket.recv() == "a"
