"""Work that can be cancelled from outside."""

import asyncio

import pytest

from server.errors import TaskCancelled
from server.tasks.cancel_scopes import CancelScopes


async def work(scopes: CancelScopes, begun: asyncio.Event, go: asyncio.Event, task_id: str = "One") -> str:
    async with scopes.open("me", task_id):
        begun.set()
        await go.wait()
    return "finished"


async def test_a_block_is_cancelled_by_its_id_and_tells_so() -> None:
    scopes, begun, go = CancelScopes(), asyncio.Event(), asyncio.Event()
    first = asyncio.create_task(work(scopes, begun, go))
    other = asyncio.create_task(work(scopes, asyncio.Event(), go, "Two"))
    await begun.wait()
    assert not await scopes.cancel("another", "One")
    assert await scopes.cancel("me", "oNE")
    with pytest.raises(TaskCancelled):
        await first
    assert not first.cancelled()
    assert not await scopes.cancel("me", "One")
    go.set()
    assert await other == "finished"


async def test_two_cancels_and_two_blocks_of_one_id() -> None:
    scopes, begun, go = CancelScopes(), asyncio.Event(), asyncio.Event()
    blocks = [asyncio.create_task(work(scopes, begun, go)) for _ in range(2)]
    await begun.wait()
    assert await asyncio.gather(scopes.cancel("me", "One"), scopes.cancel("me", "One")) == [True, True]
    results = await asyncio.gather(*blocks, return_exceptions=True)
    assert [type(result) for result in results] == [TaskCancelled, TaskCancelled]


async def test_a_block_that_ends_by_itself_at_that_moment_is_not_cancelled() -> None:
    scopes, begun, go = CancelScopes(), asyncio.Event(), asyncio.Event()
    block = asyncio.create_task(work(scopes, begun, go))
    await begun.wait()
    go.set()
    await asyncio.sleep(0)  # the block has its event, and runs before the cancel does
    cancelled = await scopes.cancel("me", "One")
    assert cancelled == isinstance((await asyncio.gather(block, return_exceptions=True))[0], TaskCancelled)


async def test_a_time_out_inside_is_no_cancel_and_a_cancelled_asyncio_task_is_none_either() -> None:
    scopes = CancelScopes()
    with pytest.raises(TimeoutError, match="slow"):
        async with scopes.open("me", "One"):
            raise TimeoutError("slow")
    begun = asyncio.Event()
    block = asyncio.create_task(work(scopes, begun, asyncio.Event()))
    await begun.wait()
    block.cancel()
    with pytest.raises(asyncio.CancelledError):
        await block
    assert not await scopes.cancel("me", "One")
