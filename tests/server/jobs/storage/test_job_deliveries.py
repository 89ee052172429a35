"""The ends of webhooks. `test_upload_courier.py` has those of uploads."""

from dataclasses import replace

from server.database import Database
from server.delivery.outbox import Outbox
from server.delivery.targets import Webhook
from server.jobs.job import Result
from server.jobs.storage.store import JobStore
from tests.server.jobs.common import submission

HOOK = Webhook("http://a.example/", "http://box", (), each_result=True)


async def test_the_last_webhook_of_a_job_that_has_ended(database: Database, store: JobStore) -> None:
    job = await store.accept(replace(submission(count=2), webhook=HOOK))
    for index, name in enumerate("ab"):
        await store.add_result(job.id, Result(index, name, 1, 0.1, "{}"), ())
    first, second = await Outbox(database).of(job.id)
    assert await store.deliveries.end_webhook(first, "down") == (True, None)
    assert await store.deliveries.end_webhook(first, None) == (False, None)
    ended = await store.end(job.id, "done")
    stored, last = await store.deliveries.end_webhook(second, None)
    assert stored
    assert last is not None
    assert (last.task_uuid, last.finished) == (job.submission.task_uuid, ended.finished)
    assert last.states == {"given_up": 1, "delivered": 1}


async def test_a_job_that_goes_on_is_told_of_at_its_end(database: Database, store: JobStore) -> None:
    job = await store.accept(replace(submission(), webhook=HOOK))
    await store.add_result(job.id, Result(0, "a", 1, 0.1, "{}"), ())
    (only,) = await Outbox(database).of(job.id)
    assert await store.deliveries.job_of(only) == await store.find(*job.submission.key)
    assert await store.deliveries.end_webhook(only, None) == (True, None)
