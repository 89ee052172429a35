import asyncio

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from server.connections import guarded_http
from tests.server.connections.servers import guarded_server

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
Line = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body of `/read`, and none of other paths."""
    body = await Request(scope, receive).body() if scope["path"] == "/read" else b""
    await PlainTextResponse(f"got {len(body)}")(scope, receive, send)


async def connect(port: int, sent: bytes = b"") -> Line:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(sent)
    await writer.drain()
    return reader, writer


async def closed(line: Line) -> bytes:
    """All that comes until the server closes the connection."""
    reader, writer = line
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_connections_over_the_bound_are_closed() -> None:
    async with guarded_server(app, connections=4) as port:
        kept = [await connect(port) for _ in range(2)]
        assert await closed(await connect(port, HEAD + b"\r\n")) == b""
        for reader, writer in kept:
            writer.write(HEAD + b"Content-Length: 0\r\nConnection: close\r\n\r\n")
            assert b"got 0" in await reader.read()
            writer.close()
        assert b"got 0" in await closed(await connect(port, HEAD + b"Connection: close\r\nContent-Length: 0\r\n\r\n"))


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        HEAD,
        HEAD + b"Content-Length: 99\r\n\r\nan unread body",
    ],
    ids=["nothing", "half a head", "half a body"],
)
async def test_what_stays_incomplete_is_closed(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(guarded_http, "HEAD_SECONDS", 0.05)
    async with guarded_server(app) as port:
        async with asyncio.timeout(4):  # less than uvicorn waits between two requests
            answer = await closed(await connect(port, sent))
        assert (b"got 0" in answer) == (b"\r\n\r\n" in sent)


async def test_a_second_request_on_a_connection_is_timed_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded_http, "HEAD_SECONDS", 0.05)
    async with guarded_server(app) as port:
        reader, writer = await connect(port, HEAD + b"Content-Length: 0\r\n\r\n")
        await reader.readuntil(b"got 0")
        writer.write(HEAD)
        assert await closed((reader, writer)) == b""


async def test_a_request_takes_as_long_as_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded_http, "HEAD_SECONDS", 0.02)
    head = b"POST /read HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 3\r\n\r\n"
    async with guarded_server(app) as port:
        reader, writer = await connect(port, head + b"a")
        await asyncio.sleep(0.05)
        writer.write(b"bc")
        assert b"got 3" in await closed((reader, writer))
