import sqlite3
import time

from server.database import Database
from server.delivery.outbox import Delivery, Kind, Outbox, add_delivery, end_delivery, uploads_wait

LATER = time.time() + 1e6  # after any row of a test


async def add(database: Database, job: int, kind: Kind = "webhook", position: int | None = 0, host: str = "a") -> None:
    url = f"http://{host}.example/hook"
    await database.run(lambda connection: add_delivery(connection, job, kind, position, url, (1.0, 2.0)))


async def due(outbox: Outbox, busy: tuple[int, ...] = (), full: tuple[str, ...] = ()) -> Delivery | None:
    return await outbox.next_due(LATER, busy, full)


async def test_a_row_is_due_at_once(database: Database, outbox: Outbox) -> None:
    assert await due(outbox) is None
    await add(database, 1)
    row = await due(outbox)
    assert row is not None
    assert (row.job_id, row.kind, row.position, row.host) == (1, "webhook", 0, "a.example")
    assert (row.delays, row.state, row.tries, row.error) == ((1.0, 2.0), "waiting", 0, None)
    assert await outbox.next_due(row.due - 1, (), ()) is None


async def test_rows_of_one_task_and_kind_go_in_order(database: Database, outbox: Outbox) -> None:
    for position in (0, 1):
        await add(database, 1, position=position)
    await add(database, 1, "upload")
    first = await due(outbox)
    assert first is not None
    other = await due(outbox, (first.id,))
    assert other is not None
    assert (first.position, other.kind) == (0, "upload")
    assert await due(outbox, (first.id, other.id)) is None
    await outbox.retry(first, LATER + 60, "down")  # one that waits for its next try holds the next one up too
    assert await due(outbox, (other.id,)) is None
    assert await outbox.end(first, None)
    second = await due(outbox, (other.id,))
    assert second is not None
    assert second.position == 1


async def test_a_full_host_holds_up_no_other(database: Database, outbox: Outbox) -> None:
    await add(database, 1, host="dead")
    await add(database, 2, host="alive")
    row = await due(outbox, full=("dead.example",))
    assert row is not None
    assert row.host == "alive.example"


async def test_tries_are_counted_and_the_message_keeps_its_id(database: Database, outbox: Outbox) -> None:
    await add(database, 1)
    first = await due(outbox)
    assert first is not None
    await outbox.retry(first, LATER - 30, "no answer")
    assert await outbox.next_time(time.time()) == LATER - 30
    again = await due(outbox)
    assert again is not None
    assert (again.message_id, again.tries, again.error) == (first.message_id, 1, "no answer")
    assert await outbox.end(again, "still none")
    assert await due(outbox) is None
    assert await outbox.next_time(0) is None
    (kept,) = await outbox.of(1)
    assert (kept.state, kept.tries, kept.error) == ("given_up", 2, "still none")


async def test_a_row_goes_with_its_job_and_its_id_never_comes_back(database: Database, outbox: Outbox) -> None:
    await add(database, 1)
    row = await due(outbox)
    assert row is not None
    await database.run(lambda connection: connection.execute("DELETE FROM jobs WHERE id = 1"))
    await add(database, 2)
    assert not await outbox.end(row, None)
    assert [one.state for one in await outbox.of(2)] == ["waiting"]


async def test_uploads_that_wait(database: Database) -> None:
    def waits(connection: sqlite3.Connection) -> bool:
        return uploads_wait(connection, 1)

    await add(database, 1)
    assert not await database.run(waits)
    await add(database, 1, "upload")
    assert await database.run(waits)
    (_, upload) = await Outbox(database).of(1)
    assert await database.run(lambda connection: end_delivery(connection, upload, None))
    assert not await database.run(waits)
    assert not await database.run(lambda connection: end_delivery(connection, upload, None))
