import asyncio

from server.mailbox import Mailbox


async def test_events_come_in_order_and_of_some_kinds_only_the_latest() -> None:
    mailbox: Mailbox[object] = Mailbox((int, str))
    for event in (1, b"a", "x", 2, b"b", "y"):
        mailbox.put(event)
    assert [await mailbox.get() for _ in range(4)] == [b"a", 2, b"b", "y"]


async def test_it_waits_for_the_next_event() -> None:
    mailbox: Mailbox[int] = Mailbox(())
    waiting = asyncio.ensure_future(mailbox.get())
    await asyncio.sleep(0)
    assert not waiting.done()
    mailbox.put(1)
    mailbox.put(1)
    assert [await waiting, await mailbox.get()] == [1, 1]
