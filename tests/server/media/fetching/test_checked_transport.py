"""Requests of all methods; `test_fetch.py` has the attacks by address."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from server.media.fetching.checked_transport import CheckedTransport, HostNotFound, PrivateAddress

# A key and its certificate for 127.0.0.1, which no authority has signed.
SELF_SIGNED = Path(__file__).with_name("self_signed.pem")


class Receiver:
    """Answers every request with a status, and keeps what it got."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.bodies: list[bytes] = []
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((line.split(":")[1] for line in head.split("\r\n") if line.lower().startswith("content-len")), 0)
        self.heads.append(head)
        self.bodies.append(await reader.readexactly(int(length)))
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://10.0.0.1/\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    async with await asyncio.start_server(receiver.answer, "127.0.0.1", 0) as server:
        receiver.port = server.sockets[0].getsockname()[1]
        yield receiver


@pytest.fixture
async def transport() -> AsyncIterator[CheckedTransport]:
    transport = CheckedTransport(True)
    yield transport
    await transport.aclose()


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_a_body_is_sent_as_it_is(receiver: Receiver, transport: CheckedTransport, method: str) -> None:
    url = httpx2.URL(f"http://127.0.0.1:{receiver.port}/a?b=c")
    response = await transport.send(method, url, {"Content-Type": "image/webp"}, b"\x00picture")
    await response.aclose()
    assert response.status_code == 302  # not followed
    assert receiver.heads[0].startswith(f"{method} /a?b=c HTTP/1.1\r\n")
    assert "content-type: image/webp" in receiver.heads[0].lower()
    assert "transfer-encoding" not in receiver.heads[0].lower()
    assert receiver.bodies == [b"\x00picture"]
    assert len(receiver.heads) == 1


async def test_a_private_address_gets_nothing(receiver: Receiver) -> None:
    transport = CheckedTransport(False)
    with pytest.raises(PrivateAddress):
        await transport.send("POST", httpx2.URL(f"http://127.0.0.1:{receiver.port}/"), {}, b"body")
    await transport.aclose()
    assert receiver.heads == []


async def test_a_receiver_whose_certificate_nobody_has_signed_gets_nothing(transport: CheckedTransport) -> None:
    context, receiver = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), Receiver()
    context.load_cert_chain(SELF_SIGNED)
    async with await asyncio.start_server(receiver.answer, "127.0.0.1", 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(httpx2.ConnectError, match="certificate"):
            await transport.send("POST", httpx2.URL(f"https://127.0.0.1:{port}/"), {}, b"body")
    assert receiver.heads == []


async def test_an_unknown_host() -> None:
    async def nothing(host: str, port: int) -> list[str]:
        return []

    transport = CheckedTransport(True, nothing)
    with pytest.raises(HostNotFound, match=r"a\.example"):
        await transport.addresses(httpx2.URL("http://a.example/"))
    await transport.aclose()
