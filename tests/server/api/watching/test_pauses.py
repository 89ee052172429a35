import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from server.api.watching.pauses import with_pauses


async def test_items_come_in_their_order_and_pauses_between() -> None:
    go, closed = asyncio.Event(), []

    async def items() -> AsyncGenerator[int]:
        try:
            yield 1
            await go.wait()
            yield 2
        finally:
            closed.append(True)

    seen: list[int | None] = []
    async for item in with_pauses(items(), 0.001):
        seen.append(item)
        if item is None:
            go.set()
    assert (seen[0], seen[-1], None in seen[1:-1]) == (1, 2, True)
    assert closed == [True]


async def test_a_stream_that_is_left_closes_what_it_follows() -> None:
    closed = []

    async def endless() -> AsyncGenerator[int]:
        try:
            while True:
                yield 1
                await asyncio.Event().wait()
        finally:
            closed.append(True)

    async with aclosing(with_pauses(endless(), 60)) as stream:
        assert await anext(stream) == 1
    assert closed == [True]
