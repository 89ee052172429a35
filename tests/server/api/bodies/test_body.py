from collections.abc import Sequence
from typing import Any

import pytest
from starlette.requests import Request

from server.api.access.auth import ApiKeys
from server.api.bodies.body import STRANGER_LIMIT, read_body, read_body_for_key, stranger
from server.errors import Unauthorized, ValueTooLarge


def request(chunks: Sequence[bytes], length: str | None = None) -> tuple[Request, list[bytes]]:
    """A request, and what of its body has not been read."""
    left = list(chunks)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    headers = [] if length is None else [(b"content-length", length.encode())]
    return Request({"type": "http", "headers": headers}, receive), left


@pytest.mark.parametrize("length", [None, "6", "abc", "-1", "1_0", ""])
async def test_a_body_is_read_whole_whatever_its_announced_size(length: str | None) -> None:
    sent, left = request([b"abc", b"def"], length)
    assert (await read_body(sent, 6), left) == (b"abcdef", [])


async def test_no_more_is_read_than_the_limit() -> None:
    sent, left = request([b"abc", b"def", b"ghi", b"jkl"])
    with pytest.raises(ValueTooLarge, match="larger than 8 bytes"):
        await read_body(sent, 8)
    assert left == [b"jkl"]


async def test_an_announced_size_is_refused_before_the_body_is_read() -> None:
    sent, left = request([b"abc"], "9")
    with pytest.raises(ValueTooLarge):
        await read_body(sent, 8)
    assert left == [b"abc"]


@pytest.mark.parametrize("length", [None, str(STRANGER_LIMIT + 1)])
async def test_a_stranger_is_refused_at_the_small_limit(length: str | None) -> None:
    chunk = b"a" * STRANGER_LIMIT
    sent, left = request([chunk, b"b", b"c"], length)
    with pytest.raises(Unauthorized, match=f"More than {STRANGER_LIMIT} bytes"):
        await read_body_for_key(sent, ApiKeys(("one",)), 10 * STRANGER_LIMIT)
    assert left == ([b"c"] if length is None else [chunk, b"b", b"c"])


@pytest.mark.parametrize(("keys", "size"), [(("one",), STRANGER_LIMIT), ((), STRANGER_LIMIT + 1)])
async def test_a_small_body_and_one_that_needs_no_key_are_read(keys: tuple[str, ...], size: int) -> None:
    sent, _ = request([b"a" * size])
    assert len(await read_body_for_key(sent, ApiKeys(keys), 10 * STRANGER_LIMIT)) == size


async def test_the_key_of_a_small_body_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def owner(keys: ApiKeys, key: str | None) -> str:
        raise AssertionError("looked up")

    monkeypatch.setattr(ApiKeys, "owner", owner)
    sent, _ = request([b"abc"], "3")
    assert await read_body_for_key(sent, ApiKeys(("one",)), 10) == b"abc"


def test_the_refusal_of_a_stranger_keeps_its_code() -> None:
    keys = ApiKeys(("one",))
    missing, wrong = stranger(keys, None), stranger(keys, "two")
    assert missing is not None
    assert wrong is not None
    assert (missing.code, wrong.code) == ("missingApiKey", "invalidApiKey")
    assert stranger(keys, "one") is None
