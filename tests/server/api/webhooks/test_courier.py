"""Which dialect renders a webhook, and with what. `tests/server/delivery/test_deliveries.py` sends whole tasks."""

from dataclasses import replace

import pytest
import structlog

from server.api.dialect import Notice
from server.api.webhooks.courier import WebhookCourier
from server.database import Database
from server.delivery.outbox import Outbox
from server.delivery.sender import DeliveryFailed, Sender
from server.delivery.targets import Post, Webhook
from server.errors import Failure
from server.jobs.job import Result
from server.jobs.storage.store import JobStore
from server.media.fetching.checked_transport import CheckedTransport
from tests.receivers import Receiver
from tests.server.jobs.common import submission

FAILURE = Failure("inferenceError", "why", 500)


class Writer:
    """Keeps the notices that it renders."""

    def __init__(self) -> None:
        self.notices: list[Notice] = []

    async def write(self, notice: Notice) -> Post:
        self.notices.append(notice)
        return Post(b"body", {"X-Vendor": "small"})


def courier(database: Database, store: JobStore, **writers: Writer) -> WebhookCourier:
    return WebhookCourier(Sender(CheckedTransport(True)), store, writers, 30.0)


async def accept(store: JobStore, url: str, *, each_result: bool) -> int:
    webhook = Webhook(url, "http://box", (), each_result=each_result)
    return (await store.accept(replace(submission(), webhook=webhook))).id


@pytest.mark.parametrize("each_result", [True, False])
@pytest.mark.parametrize("state", ["done", "failed"])
async def test_what_is_told_when(
    database: Database, store: JobStore, there: Receiver, each_result: bool, state: str
) -> None:
    job_id = await accept(store, there.url, each_result=each_result)
    await store.add_result(job_id, Result(0, "a", 1, 0.1, "{}"), ())
    await store.end(job_id, "done" if state == "done" else "failed", None if state == "done" else FAILURE)
    writer = Writer()
    sends = courier(database, store, small=writer)
    for delivery in await Outbox(database).of(job_id):
        await sends.send(delivery)
        assert await sends.end(delivery, None)
    told = [None if notice.result is None else notice.result.index for notice in writer.notices]
    assert told == (([0] if state == "done" else [0, None]) if each_result else [None])
    assert [notice.job.state for notice in writer.notices] == [state] * len(told)
    assert [(got.body, got.headers["x-vendor"]) for got in there.requests] == [(b"body", "small")] * len(told)
    assert {notice.id for notice in writer.notices} == {one.message_id for one in await Outbox(database).of(job_id)}


async def test_the_log_tells_of_the_last_webhook_of_a_task_that_has_ended(database: Database, store: JobStore) -> None:
    job_id = await accept(store, "http://a.example/", each_result=True)
    sends = courier(database, store, small=Writer())
    await store.add_result(job_id, Result(0, "a", 1, 0.1, "{}"), ())
    with structlog.testing.capture_logs() as lines:
        (first,) = await Outbox(database).of(job_id)
        await sends.end(first, None)
        assert not lines  # the task goes on, and the line about its end will tell
        await store.add_result(job_id, Result(1, "b", 2, 0.1, "{}"), ())
        await store.end(job_id, "failed", FAILURE)
        _, second, third = await Outbox(database).of(job_id)
        await sends.end(second, None)
        assert not lines
        await sends.end(third, "no answer")
    (line,) = lines
    assert (line["event"], line["task"]) == ("webhooks ended", submission().task_uuid)
    assert (line["delivered"], line["given_up"]) == (2, 1)
    assert line["seconds"] >= 0


async def test_a_cancelled_and_a_given_up_task_are_told_of(database: Database, store: JobStore) -> None:
    for number in range(2):
        webhook = Webhook("http://a.example/", "http://box", (), each_result=True)
        await store.accept(replace(submission(number), webhook=webhook))
    assert await store.end_queued(*submission(1).key) is not None
    for _ in range(2):
        await store.claim()
        await store.requeue_interrupted()
    rows = await Outbox(database).of(1) + await Outbox(database).of(2)
    assert [(row.job_id, row.position) for row in rows] == [(1, None), (2, None)]


async def test_a_task_that_cannot_be_read_is_told_of_once(database: Database, store: JobStore) -> None:
    await accept(store, "http://a.example/", each_result=True)
    await database.run(lambda connection: connection.execute("UPDATE jobs SET request = '{'"))
    await store.claim()
    await store.find(*submission().key)
    assert len(await Outbox(database).of(1)) == 1


async def test_a_dialect_without_webhooks_and_a_deleted_task(database: Database, store: JobStore) -> None:
    job_id = await accept(store, "http://a.example/", each_result=False)
    await store.end(job_id, "done")
    (delivery,) = await Outbox(database).of(job_id)
    with pytest.raises(DeliveryFailed, match="'small' has no webhooks") as failed:
        await courier(database, store).send(delivery)
    assert failed.value.final
    await store.forget(2**40)
    with pytest.raises(DeliveryFailed, match="deleted"):
        await courier(database, store, small=Writer()).send(delivery)
