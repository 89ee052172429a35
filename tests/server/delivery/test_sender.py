import asyncio
from collections.abc import AsyncIterator

import pytest

from server.delivery import sender as module
from server.delivery.sender import PRIVATE, DeliveryFailed, Sender
from server.media.fetching.checked_transport import CheckedTransport
from tests.receivers import Receiver


@pytest.fixture
async def sender() -> AsyncIterator[Sender]:
    sender = Sender(CheckedTransport(True))
    yield sender
    await sender.aclose()


async def failure(sender: Sender, url: str, seconds: float = 30.0) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as caught:
        await sender.send("POST", url, {}, b"{}", seconds)
    return caught.value


async def test_what_is_sent(sender: Sender, there: Receiver) -> None:
    await sender.send("PUT", f"{there.url}/put?key=1", {"Content-Type": "image/png"}, b"\x89PNG", 30.0)
    (got,) = there.requests
    assert (got.method, got.path, got.body) == ("PUT", "/put?key=1", b"\x89PNG")
    assert (got.headers["content-type"], got.headers["content-length"]) == ("image/png", "4")
    assert not {"authorization", "cookie"} & got.headers.keys()


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/fail", 500, "answered with status 500"),
        ("/refuse", 403, "answered with status 403"),
        ("/redirect", 307, "redirects with status 307, which is not followed"),
        ("/close", None, "broke off or did not answer in proper HTTP"),
    ],
)
async def test_what_does_not_arrive(sender: Sender, there: Receiver, path: str, status: int | None, words: str) -> None:
    failed = await failure(sender, there.url + path)
    assert words in failed.reason
    assert (failed.status, failed.final) == (status, False)
    assert [got.path for got in there.requests] == [path]


@pytest.mark.parametrize("path", ["/hang", "/drip"])
async def test_who_takes_too_long_is_given_up(sender: Sender, there: Receiver, path: str) -> None:
    assert "did not answer within 0.1 seconds" in (await failure(sender, there.url + path, 0.1)).reason


async def test_who_is_not_there(sender: Sender) -> None:
    assert "could not be reached" in (await failure(sender, "http://127.0.0.1:1/")).reason


async def test_a_private_address_gets_nothing_and_is_not_tried_again(there: Receiver) -> None:
    strict = Sender(CheckedTransport(False))
    failed = await failure(strict, there.url)
    assert (failed.final, PRIVATE in failed.reason, there.requests) == (True, True, [])
    assert await strict.refusal(there.url) == PRIVATE
    await strict.aclose()


async def test_an_address_that_is_none(sender: Sender) -> None:
    failed = await failure(sender, "http://user:secret@a.example/")
    assert (failed.final, "secret" in failed.reason) == (True, False)
    assert "user name or password" in str(await sender.refusal("http://user:secret@a.example/"))


async def test_a_name_that_cannot_be_found_yet_is_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECK_SECONDS", 0.01)

    async def none(host: str, port: int) -> list[str]:
        return []

    async def slow(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    for resolve in (none, slow):
        sender = Sender(CheckedTransport(False, resolve))
        assert await sender.refusal("http://a.example/") is None
        await sender.aclose()
    sender = Sender(CheckedTransport(False, none))
    assert "cannot be found" in (await failure(sender, "http://a.example/")).reason
    await sender.aclose()
