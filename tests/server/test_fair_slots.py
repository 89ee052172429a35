import asyncio
import contextlib
from collections.abc import Callable

import pytest

from server.fair_slots import FairSlots


class Holder:
    """Takes a slot in a task of its own, and holds it until released."""

    def __init__(self, slots: FairSlots, caller: str, log: Callable[[str], None] = lambda _: None) -> None:
        self.go = asyncio.Event()
        self.held = False
        self.task = asyncio.create_task(self._hold(slots, caller, log))

    async def _hold(self, slots: FairSlots, caller: str, log: Callable[[str], None]) -> None:
        async with slots.take(caller):
            self.held = True
            log(caller)
            await self.go.wait()
        self.held = False

    async def release(self) -> None:
        self.go.set()
        await self.task


async def settle() -> None:
    """Let all tasks run until they wait."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_one_caller_never_has_all() -> None:
    slots = FairSlots(2, 1)
    greedy = [Holder(slots, "greedy") for _ in range(5)]
    await settle()
    assert [holder.held for holder in greedy] == [True, False, False, False, False]
    other = Holder(slots, "other")
    await settle()
    assert other.held
    for holder in (other, *greedy):
        await holder.release()


async def test_callers_take_turns() -> None:
    slots, order = FairSlots(1, 1), list[str]()
    first = Holder(slots, "a", order.append)
    await settle()
    waiting = [Holder(slots, caller, order.append) for caller in ("a", "a", "a", "b", "c", "b")]
    await settle()
    for holder in (first, *waiting):
        holder.go.set()
    await asyncio.gather(*(holder.task for holder in waiting))
    assert "".join(order) == "aabcaba"


@pytest.mark.parametrize("held", [True, False])
async def test_a_cancelled_caller_leaves_its_slot(held: bool) -> None:
    slots = FairSlots(1, 1)
    first = Holder(slots, "a")
    await settle()
    cancelled = first if held else Holder(slots, "b")
    last = Holder(slots, "c")
    await settle()
    cancelled.task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await cancelled.task
    await settle()
    assert last.held is held
    if not held:
        await first.release()
    await last.release()


async def test_a_caller_that_is_cancelled_as_its_turn_comes() -> None:
    slots = FairSlots(1, 1)
    async with slots.take("a"):
        second, third = Holder(slots, "b"), Holder(slots, "c")
        await settle()
    second.task.cancel()  # it has not run since its turn came
    await settle()
    assert (second.held, third.held) == (False, True)
    await third.release()
