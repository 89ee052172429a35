"""Notices when nothing comes for a while, so that a stream can send a comment. Knows no event and no transport."""

import asyncio
from collections.abc import AsyncGenerator
from typing import TypeVar

T = TypeVar("T")


async def with_pauses(items: AsyncGenerator[T], seconds: float) -> AsyncGenerator[T | None]:
    """Yield each item as it comes, and None whenever none has come for some seconds. Closes `items` at the end."""
    following = asyncio.ensure_future(anext(items, None))
    try:
        while True:
            await asyncio.wait({following}, timeout=seconds)
            if not following.done():
                yield None
            elif (item := following.result()) is None:
                return
            else:
                yield item
                following = asyncio.ensure_future(anext(items, None))
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await items.aclose()
