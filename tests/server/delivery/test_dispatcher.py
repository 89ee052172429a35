"""When what is sent: with a courier that fails as it is told to."""

import asyncio
import sqlite3
from collections import defaultdict
from collections.abc import AsyncIterator

import pytest

from server.database import Database
from server.delivery import dispatcher as module
from server.delivery.dispatcher import SLOTS, SLOTS_OF_HOST, Couriers, Dispatcher
from server.delivery.outbox import Delivery, Kind, Outbox, add_delivery
from server.delivery.sender import DeliveryFailed
from server.tasks.task_ids import IdClaims
from tests.server.jobs.common import until


class FakeCourier:
    """Fails for the first `failures` tries of each row. Rows to the host `dead` are under way for ever."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox
        self.failures = 0
        self.error: Exception = DeliveryFailed("down")
        self.sent: list[Delivery] = []
        self.under_way = 0
        self.most = 0
        self.unstorable = 0
        self.ended: list[str | None] = []

    async def send(self, delivery: Delivery) -> None:
        self.sent.append(delivery)
        if delivery.host.startswith("dead"):
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            await asyncio.Event().wait()
        if delivery.tries < self.failures:
            raise self.error

    async def end(self, delivery: Delivery, error: str | None) -> bool:
        if self.unstorable:
            self.unstorable -= 1
            raise sqlite3.OperationalError("database is locked")
        ended = await self.outbox.end(delivery, error)
        self.ended.append(error)
        return ended


class Counts:
    def __init__(self) -> None:
        self.of: dict[tuple[Kind, bool], int] = defaultdict(int)

    def record_delivery(self, kind: Kind, *, delivered: bool) -> None:
        self.of[kind, delivered] += 1


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(module, "LONGEST_PAUSE_SECONDS", 0.0)


@pytest.fixture
def courier(outbox: Outbox) -> FakeCourier:
    return FakeCourier(outbox)


@pytest.fixture
def counts() -> Counts:
    return Counts()


@pytest.fixture
async def dispatcher(outbox: Outbox, courier: FakeCourier, counts: Counts) -> AsyncIterator[Dispatcher]:
    dispatcher = Dispatcher(outbox, counts)
    dispatcher.open(Couriers({"webhook": courier}, {}))
    yield dispatcher
    await dispatcher.close()


async def add(database: Database, job: int, position: int | None = None, host: str = "a", tries: int = 5) -> None:
    delays = (0.0,) * (tries - 1)
    url = f"http://{host}.example/"
    await database.run(lambda connection: add_delivery(connection, job, "webhook", position, url, delays))


async def test_what_is_due_is_sent_in_order(database: Database, dispatcher: Dispatcher, courier: FakeCourier) -> None:
    courier.failures = 2
    for position in range(3):
        await add(database, 1, position)
    dispatcher.wake()
    await until(lambda: len(courier.ended) == 3)
    assert [one.position for one in courier.sent] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert len({one.message_id for one in courier.sent}) == 3


async def test_it_is_given_up_after_its_tries(
    database: Database, outbox: Outbox, dispatcher: Dispatcher, courier: FakeCourier, counts: Counts
) -> None:
    courier.failures = 99
    await add(database, 1)
    dispatcher.wake()
    await until(lambda: courier.ended == ["down"])
    assert len(courier.sent) == 5
    assert [(one.state, one.tries) for one in await outbox.of(1)] == [("given_up", 5)]
    await until(lambda: counts.of == {("webhook", False): 1})


async def test_a_final_failure_is_not_tried_again(
    database: Database, dispatcher: Dispatcher, courier: FakeCourier
) -> None:
    courier.failures, courier.error = 99, DeliveryFailed("refused", final=True)
    await add(database, 1)
    dispatcher.wake()
    await until(lambda: courier.ended == ["refused"])
    assert len(courier.sent) == 1


async def test_a_bug_of_ours_is_a_failed_try(
    database: Database, dispatcher: Dispatcher, courier: FakeCourier, counts: Counts
) -> None:
    courier.failures, courier.error = 1, LookupError("bug")
    await add(database, 1)
    dispatcher.wake()
    await until(lambda: courier.ended == [None])
    assert len(courier.sent) == 2
    await until(lambda: counts.of == {("webhook", True): 1})


async def test_a_dead_receiver_holds_up_no_other(
    database: Database, dispatcher: Dispatcher, courier: FakeCourier
) -> None:
    for job in range(SLOTS + 1):
        await add(database, job, host="dead")
    await add(database, 90, host="alive")
    dispatcher.wake()
    await until(lambda: courier.ended == [None])
    assert courier.most == SLOTS_OF_HOST
    assert courier.sent[-1].host == "alive.example"


async def test_an_end_that_cannot_be_stored_is_not_sent_again(
    database: Database, dispatcher: Dispatcher, courier: FakeCourier
) -> None:
    courier.unstorable = 3
    await add(database, 1)
    dispatcher.wake()
    await until(lambda: courier.ended == [None])
    assert len(courier.sent) == 1


async def test_a_database_that_cannot_be_read_is_asked_again(
    database: Database, outbox: Outbox, courier: FakeCourier, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, broken = outbox.next_due, [sqlite3.OperationalError("locked")]

    async def next_due(*arguments: object) -> Delivery | None:
        if broken:
            raise broken.pop()
        return await real(*arguments)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(outbox, "next_due", next_due)
    await add(database, 1)
    dispatcher = Dispatcher(outbox, Counts())
    dispatcher.open(Couriers({"webhook": courier}, {}))
    await until(lambda: courier.ended == [None])
    await dispatcher.close()


async def test_what_was_under_way_is_sent_again_by_the_next_process(
    database: Database, outbox: Outbox, courier: FakeCourier
) -> None:
    await add(database, 1, host="dead")
    first = Dispatcher(outbox, Counts())
    first.open(Couriers({"webhook": courier}, {}))
    await until(lambda: courier.under_way == 1)
    await first.close()
    second = Dispatcher(outbox, Counts())
    second.open(Couriers({"webhook": courier}, {}))
    await until(lambda: courier.under_way == 2)
    await second.close()
    assert len({one.message_id for one in courier.sent}) == 1
    assert [one.tries for one in courier.sent] == [0, 0]


async def test_a_row_waits_for_its_next_try(
    database: Database, outbox: Outbox, dispatcher: Dispatcher, courier: FakeCourier
) -> None:
    courier.failures = 1
    await database.run(lambda one: add_delivery(one, 1, "webhook", None, "http://a.example/", (3600.0,)))
    dispatcher.wake()
    await until(lambda: len(courier.sent) == 1)
    while not (row := (await outbox.of(1))[0]).tries:
        pass
    assert 3600 - 60 < row.due - courier.sent[0].due < 3600 * (1 + module.JITTER) + 60
    assert row.state == "waiting"


async def test_rows_of_other_tasks_have_couriers_of_their_own(
    database: Database, outbox: Outbox, courier: FakeCourier, counts: Counts
) -> None:
    def work(connection: sqlite3.Connection) -> None:
        IdClaims("picture").claim(connection, "me", "one")
        add_delivery(connection, ("me", "one"), "webhook", None, "http://a.example/", ())
        add_delivery(connection, 1, "webhook", None, "http://b.example/", ())

    await database.run(work)
    other = FakeCourier(outbox)
    dispatcher = Dispatcher(outbox, counts)
    dispatcher.open(Couriers(jobs={"webhook": courier}, tasks={"webhook": other}))
    await until(lambda: counts.of["webhook", True] == 2)
    await dispatcher.close()
    assert [row.host for row in courier.sent] == ["b.example"]
    assert [(row.host, row.task) for row in other.sent] == [("a.example", ("me", "one"))]
    with pytest.raises(LookupError):
        _ = courier.sent[0].task
