from collections.abc import Sequence
from typing import Any

import pytest
from starlette.requests import Request

from server.api.body import read_body
from server.errors import ValueTooLarge


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
