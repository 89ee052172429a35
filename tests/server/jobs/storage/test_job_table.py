"""What belongs to a job beside its row. The store runs each piece in a transaction."""

import time
from dataclasses import replace

import pytest

from accel.cache.report import CacheReport, Decision
from server.database import Database
from server.errors import ConflictTaskUUID, Failure
from server.jobs.job import Result
from server.jobs.storage.rows import UNREADABLE
from server.jobs.storage.store import JobStore
from tests.server.jobs.common import SUBMISSION


async def test_a_clock_that_is_set_back_gives_no_negative_times(
    store: JobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await store.accept(SUBMISSION)
    monkeypatch.setattr(time, "time", lambda: job.created - 3600)
    claimed = await store.claim()
    assert claimed is not None
    ended = await store.end(job.id, "done")
    assert (claimed.started, ended.finished) == (job.created, job.created)


async def test_a_task_uuid_is_used_once_by_each_owner(store: JobStore) -> None:
    await store.accept(SUBMISSION)
    with pytest.raises(ConflictTaskUUID):
        await store.accept(replace(SUBMISSION, task_uuid=SUBMISSION.task_uuid.lower()))
    await store.accept(replace(SUBMISSION, owner="you"))


@pytest.mark.parametrize("state", ["failed", "cancelled"])
async def test_what_failed_may_be_sent_again(store: JobStore, state: str) -> None:
    job = await store.accept(SUBMISSION)
    await store.add_result(job.id, Result(0, "a", 1, 0.1, "{}"), ())
    await store.end(job.id, "failed" if state == "failed" else "cancelled", Failure("inferenceError", "why", 500))
    again = await store.accept(SUBMISSION)
    assert (again.state, again.results, again.failure) == ("queued", (), None)


async def test_done_is_done(store: JobStore) -> None:
    job = await store.accept(SUBMISSION)
    await store.end(job.id, "done")
    with pytest.raises(ConflictTaskUUID):
        await store.accept(SUBMISSION)


async def test_old_jobs_are_forgotten(store: JobStore) -> None:
    job = await store.accept(SUBMISSION)
    await store.end(job.id, "done")
    assert await store.forget(time.time() - 1) == 0
    assert await store.forget(time.time() + 1) == 1
    assert await store.find(*SUBMISSION.key) is None
    await store.accept(SUBMISSION)


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("request", "{}"),
        ("request", "no JSON"),
        ("task", "3"),
        ("encoding", "[]"),
        ("image_uuids", "7"),
        ("warnings", ""),
    ],
)
async def test_an_unreadable_row_fails_alone(store: JobStore, database: Database, column: str, text: str) -> None:
    """One such row stopped the queue for ever, while /readyz said that all was well."""
    await store.accept(replace(SUBMISSION, owner="a"))
    await store.accept(replace(SUBMISSION, owner="b"))
    await database.run(
        lambda connection: connection.execute(f"UPDATE jobs SET {column} = ? WHERE owner = 'a'", (text,))
    )
    failed, good = await store.claim(), await store.claim()
    assert failed is not None
    assert good is not None
    assert (failed.submission.owner, failed.state, failed.failure) == ("a", "failed", UNREADABLE)
    assert (good.submission.owner, good.state) == ("b", "running")
    assert await store.find("a", SUBMISSION.task_uuid) == failed
    assert failed.submission.task["taskUUID" if column == "task" else "any"]
    await store.accept(replace(SUBMISSION, owner="a"))


async def test_a_job_that_is_done_keeps_its_images_when_its_request_cannot_be_read(
    store: JobStore, database: Database
) -> None:
    job = await store.accept(SUBMISSION)
    result = Result(0, "a", 1, 0.1, "{}", CacheReport("fbcache", (Decision(0, 0, "cond", "first"),), 8, 4, 2.0))
    await store.add_result(job.id, result, ())
    await store.end(job.id, "done")
    await database.run(lambda connection: connection.execute("UPDATE jobs SET request = '{}'"))
    await database.run(lambda connection: connection.execute("UPDATE cache_reports SET report = '{}'"))
    found = await store.find(*SUBMISSION.key)
    assert found is not None
    assert (found.state, found.failure, found.results) == ("done", None, (replace(result, cache=None),))
