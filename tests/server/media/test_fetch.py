import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from server.errors import MediaError
from server.media.fetch import Fetcher, is_public

Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


class Web:
    """A tiny HTTP server on the loopback address; `seen` are the requests' first lines and headers."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.port = 0

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.seen.append(request)
        path = request.split()[1]
        head = "HTTP/1.1 200 OK\r\nConnection: close\r\n"
        moved = "HTTP/1.1 302 Found\r\nConnection: close\r\nContent-Length: 0\r\nLocation: "
        if path.startswith("/redirect/"):
            left = int(path.rsplit("/", 1)[1])
            to = f"/redirect/{left - 1}" if left else "/ok"
            head = f"{moved}{to}\r\n"
        elif path == "/elsewhere":
            head = f"{moved}http://inside:{self.port}/ok\r\n"
        elif path == "/missing":
            head = "HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n"
        elif path == "/silent":
            await reader.read()  # until the client gives up
        body = b"x" * 2000 if path == "/large" else b"picture"
        writer.write(head.encode() + b"\r\n" + (body if "200" in head else b""))
        with contextlib.suppress(ConnectionError):
            await writer.drain()
            writer.close()
            await writer.wait_closed()


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    web = Web()
    server = await asyncio.start_server(web.answer, "127.0.0.1", 0)
    web.port = server.sockets[0].getsockname()[1]
    async with server:
        yield web


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    fetcher = Fetcher(True, 5.0, 1000)
    yield fetcher
    await fetcher.aclose()


async def refused(fetcher: Fetcher, url: str) -> str:
    with pytest.raises(MediaError) as caught:
        await fetcher.fetch(url)
    await fetcher.aclose()
    return caught.value.message


async def test_a_body(web: Web, fetcher: Fetcher) -> None:
    assert await fetcher.fetch(web.url("/ok")) == b"picture"
    assert "authorization" not in web.seen[0].lower()


async def test_redirects_are_followed_a_few_times(web: Web, fetcher: Fetcher) -> None:
    assert await fetcher.fetch(web.url("/redirect/2")) == b"picture"
    assert "redirects more than 3 times" in await refused(fetcher, web.url("/redirect/9"))


async def test_failures_are_said_plainly(web: Web, fetcher: Fetcher) -> None:
    assert "status 404" in await refused(fetcher, web.url("/missing"))


async def test_too_large(web: Web, fetcher: Fetcher) -> None:
    assert "larger than 1000 bytes" in await refused(fetcher, web.url("/large"))


async def test_no_server(fetcher: Fetcher) -> None:
    assert "could not be reached" in await refused(fetcher, "http://127.0.0.1:1/a.png")


@pytest.mark.parametrize(
    "url", ["http://", "http://[::1", "http://a b/", "http://exa\x00mple/", "http://:80/", "http://" + "a" * 300]
)
async def test_bad_urls(fetcher: Fetcher, url: str) -> None:
    assert await refused(fetcher, url)


async def test_a_silent_server_is_given_up(web: Web) -> None:
    started = time.perf_counter()
    assert "within 0.2 seconds" in await refused(Fetcher(True, 0.2, 1000), web.url("/silent"))
    assert time.perf_counter() - started < 1


async def resolve(host: str, port: int) -> list[str]:
    names = {"outside": ["93.184.216.34"], "inside": ["127.0.0.1"], "both": ["93.184.216.34", "10.0.0.1"], "none": []}
    if host not in names:
        raise OSError("unknown name")
    return names[host]


@pytest.mark.parametrize("host", ["inside", "both"])
async def test_private_addresses_are_refused_before_connecting(web: Web, host: str) -> None:
    message = await refused(Fetcher(False, 5.0, 1000, resolve=resolve), web.url("/ok", host))
    assert "private address" in message
    assert "10.0.0.1" not in message
    assert web.seen == []


@pytest.mark.parametrize("host", ["none", "unknown"])
async def test_unknown_hosts(web: Web, host: str) -> None:
    assert "cannot be found" in await refused(Fetcher(False, 5.0, 1000, resolve=resolve), web.url("/ok", host))


async def test_the_checked_address_is_the_one_connected_to(web: Web) -> None:
    fetcher = Fetcher(True, 5.0, 1000, resolve=resolve)
    assert await fetcher.fetch(web.url("/ok", "inside")) == b"picture"
    assert f"Host: inside:{web.port}".lower() in web.seen[0].lower()
    await fetcher.aclose()


async def test_a_redirect_is_checked_like_the_first_address(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.media.fetch.is_public", lambda address: address == "127.0.0.1")  # as if it were outside

    async def leads_inside(host: str, port: int) -> list[str]:
        return ["10.0.0.1"] if host == "inside" else ["127.0.0.1"]

    message = await refused(Fetcher(False, 5.0, 1000, resolve=leads_inside), web.url("/elsewhere", "outside"))
    assert "private address" in message
    assert len(web.seen) == 1


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
        "2002:7f00:1::", "64:ff9b::7f00:1", "2001:db8::1",
    ],
)  # fmt: skip
def test_private(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822"]
)
def test_public(address: str) -> None:
    assert is_public(address)
