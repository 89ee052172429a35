import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from server.errors import MediaError
from server.media.fetching.fetch import Fetcher

Answer = Callable[[str, asyncio.StreamWriter], Awaitable[None]]


class Web:
    """A tiny HTTP server on the loopback address; `seen` are the requests' first lines and headers.

    `/elsewhere` redirects to `location`.
    """

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.port = 0
        self.location = ""

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.seen.append(request)
        path = request.split()[1]
        head = "HTTP/1.1 200 OK\r\nConnection: close\r\n"
        moved = "HTTP/1.1 302 Found\r\nConnection: close\r\nSet-Cookie: id=1\r\nContent-Length: 0\r\nLocation: "
        if path.startswith("/redirect/"):
            left = int(path.rsplit("/", 1)[1])
            to = f"/redirect/{left - 1}" if left else "/ok"
            head = f"{moved}{to}\r\n"
        elif path == "/elsewhere":
            head = f"{moved}{self.location}\r\n"
        elif path == "/wordy":  # a redirect that promises a body and never sends it
            head = "HTTP/1.1 302 Found\r\nContent-Length: 1000000\r\nLocation: /ok\r\n"
        elif path == "/announced":
            head += "Content-Length: 1001\r\n"
        elif path == "/short":
            head += "Content-Length: 100\r\n"
        elif path == "/garbage":
            head = "SSH-2.0-server\r\n"
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


async def test_a_file_is_written_piece_by_piece(web: Web, fetcher: Fetcher, tmp_path: Path) -> None:
    await fetcher.download(web.url("/redirect/1"), tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"picture"


@pytest.mark.parametrize(
    ("path", "words"), [("/large", "The model is larger"), ("/missing", "The model's server answered with status 404")]
)
async def test_a_file_has_the_same_limits(web: Web, tmp_path: Path, path: str, words: str) -> None:
    fetcher = Fetcher(True, 5.0, 1000, noun="model")
    with pytest.raises(MediaError, match=words):
        await fetcher.download(web.url(path), tmp_path / "file")
    await fetcher.aclose()


async def test_redirects_are_followed_a_few_times(web: Web, fetcher: Fetcher) -> None:
    assert await fetcher.fetch(web.url("/redirect/2")) == b"picture"
    assert "redirects more than 3 times" in await refused(fetcher, web.url("/redirect/9"))


async def test_failures_are_said_plainly(web: Web, fetcher: Fetcher) -> None:
    assert "status 404" in await refused(fetcher, web.url("/missing"))


async def test_too_large(web: Web, fetcher: Fetcher) -> None:
    assert "larger than 0.001 MB" in await refused(fetcher, web.url("/large"))


async def test_a_size_that_is_announced_is_enough_to_refuse(web: Web, fetcher: Fetcher) -> None:
    assert "larger than 0.001 MB" in await refused(fetcher, web.url("/announced"))


@pytest.mark.parametrize("path", ["/garbage", "/short"])
async def test_answers_that_are_no_proper_http(web: Web, fetcher: Fetcher, path: str) -> None:
    assert "proper HTTP" in await refused(fetcher, web.url(path))


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("file:///etc/passwd", "is not a valid http or https address"),
        ("//user:secret@127.0.0.1/ok", "contains a user name or password"),
        ("http://127.0.0.1:99999/", "is not a valid http or https address: its port is not between 1 and 65535"),
        ("http://127.0.0.1:port/", "is not a valid http or https address"),
        ("http://[::1/", "is not a valid http or https address"),
    ],
)
async def test_redirects_are_checked_like_first_addresses(web: Web, fetcher: Fetcher, location: str, why: str) -> None:
    web.location = location
    message = await refused(fetcher, web.url("/elsewhere"))
    assert f"The image's URL leads to an address that {why}" in message
    assert "secret" not in message
    assert len(web.seen) == 1


async def test_the_body_of_a_redirect_is_not_waited_for(web: Web) -> None:
    patient = Fetcher(True, 3600.0, 1000)
    assert await patient.fetch(web.url("/wordy")) == b"picture"
    await patient.aclose()


async def test_neither_credentials_nor_cookies_are_sent(web: Web, fetcher: Fetcher) -> None:
    await fetcher.fetch(web.url("/redirect/1"))
    await fetcher.fetch(web.url("/ok"))
    assert len(web.seen) == 4
    for request in web.seen:
        assert "authorization" not in request.lower()
        assert "cookie" not in request.lower()


async def test_a_url_with_credentials_is_refused_before_anything_is_sent(web: Web, fetcher: Fetcher) -> None:
    message = await refused(fetcher, web.url("/ok").replace("http://", "http://user:secret@"))
    assert "contains a user name or password" in message
    assert "secret" not in message
    assert web.seen == []


async def test_proxies_of_the_environment_are_not_used(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    fetcher = Fetcher(True, 5.0, 1000)
    assert await fetcher.fetch(web.url("/ok")) == b"picture"
    await fetcher.aclose()


async def test_no_server(fetcher: Fetcher) -> None:
    assert "could not be reached" in await refused(fetcher, "http://127.0.0.1:1/a.png")


async def test_a_silent_server_is_given_up(web: Web) -> None:
    assert "within 0.05 seconds" in await refused(Fetcher(True, 0.05, 1000), web.url("/silent"))


async def test_a_slow_resolver_is_given_up(web: Web) -> None:
    async def slow(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    assert "within 0.05 seconds" in await refused(Fetcher(True, 0.05, 1000, resolve=slow), web.url("/ok", "outside"))


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


async def test_a_name_that_changes_its_address_after_the_check_gains_nothing(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "server.media.fetching.checked_transport.is_public", lambda address: address == "127.0.0.1"
    )  # as if it were outside
    answers = [["127.0.0.1"], ["10.0.0.1"]]

    async def rebinding(host: str, port: int) -> list[str]:
        return answers.pop(0)

    fetcher = Fetcher(False, 5.0, 1000, resolve=rebinding)
    assert await fetcher.fetch(web.url("/ok", "outside")) == b"picture"
    assert answers == [["10.0.0.1"]]  # asked once, and connected to what was checked
    assert "private address" in await refused(fetcher, web.url("/ok", "outside"))


async def test_a_relative_redirect_stays_with_the_name(web: Web) -> None:
    asked = []

    async def note(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"]

    fetcher = Fetcher(True, 5.0, 1000, resolve=note)
    await fetcher.fetch(web.url("/redirect/0", "outside"))
    assert asked == [("outside", web.port)] * 2
    assert all(f"host: outside:{web.port}" in request.lower() for request in web.seen)
    await fetcher.aclose()


async def test_the_next_address_is_tried_when_one_is_down(web: Web) -> None:
    async def two(host: str, port: int) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]  # the server listens at the latter only

    fetcher = Fetcher(True, 5.0, 1000, resolve=two)
    assert await fetcher.fetch(web.url("/ok", "outside")) == b"picture"
    await fetcher.aclose()


async def test_tls_asks_for_the_name_not_the_address() -> None:
    hello = b""

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal hello
        hello = await reader.read(4096)
        writer.close()

    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        fetcher = Fetcher(True, 5.0, 1000, resolve=lambda host, _: resolve("inside", port))
        await refused(fetcher, f"https://b\u00fccher.example:{port}/a.png")
    assert b"xn--bcher-kva.example" in hello


async def test_a_redirect_is_checked_like_the_first_address(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "server.media.fetching.checked_transport.is_public", lambda address: address == "127.0.0.1"
    )  # as if it were outside

    async def leads_inside(host: str, port: int) -> list[str]:
        return ["10.0.0.1"] if host == "inside" else ["127.0.0.1"]

    web.location = web.url("/ok", "inside")
    message = await refused(Fetcher(False, 5.0, 1000, resolve=leads_inside), web.url("/elsewhere", "outside"))
    assert "private address" in message
    assert len(web.seen) == 1
