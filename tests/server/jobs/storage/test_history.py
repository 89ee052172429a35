from dataclasses import replace

import pytest

from server.database import Database
from server.errors import Failure
from server.jobs.job import Result
from server.jobs.storage.history import JobFilter, JobHistory
from server.jobs.storage.store import JobStore
from server.tasks.task_ids import IdClaims, TaskIds
from tests.server.jobs.common import submission


@pytest.fixture
def history(database: Database) -> JobHistory:
    return JobHistory(database, IdClaims("job"))


async def accepted(store: JobStore, number: int, owner: str = "me", **task: str) -> int:
    """The row of a job whose stored task has these values."""
    job = await store.accept(replace(submission(number), owner=owner, task=dict(task)))
    return job.id


async def test_pages_have_the_latest_first(store: JobStore, history: JobHistory) -> None:
    ids = [await accepted(store, number) for number in range(5)]
    await accepted(store, 9, owner="you")
    page, total = await history.page(JobFilter("me"), offset=1, limit=2)
    assert ([job.id for job in page], total) == ([ids[3], ids[2]], 5)


async def test_a_filter_by_state_time_and_marks(store: JobStore, history: JobHistory) -> None:
    first = await accepted(store, 1, model="a/b")
    second = await accepted(store, 2, model="a/c")
    await store.end(first, "failed", Failure("inferenceError", "why", 500))
    (job,), _ = await history.page(JobFilter("me", states=("failed", "done")))
    assert job.id == first
    (job,), _ = await history.page(JobFilter("me", marks={"model": "a/c"}))
    assert job.id == second
    after = job.created
    (found,), _ = await history.page(JobFilter("me", created_after=after))
    assert found.id == second
    (found,), _ = await history.page(JobFilter("me", created_before=after))
    assert found.id == first
    assert await history.page(JobFilter("me", marks={"endpoint": "a/c"})) == ([], 0)


async def test_a_filter_by_dialect(store: JobStore, history: JobHistory) -> None:
    await store.accept(replace(submission(1), dialect="other"))
    await accepted(store, 2)
    (job,), total = await history.page(JobFilter("me", "other"))
    assert (job.submission.task_uuid, total) == (submission(1).task_uuid, 1)


async def test_counts_by_state(store: JobStore, history: JobHistory) -> None:
    first = await accepted(store, 1)
    await accepted(store, 2)
    await accepted(store, 3, owner="you")
    await store.end(first, "done")
    assert await history.counts(JobFilter("me")) == {"done": 1, "queued": 1}


async def test_only_an_ended_job_is_deleted_with_its_id(
    database: Database, store: JobStore, history: JobHistory
) -> None:
    row = await accepted(store, 1)
    task_id = submission(1).task_uuid
    assert await history.delete("me", task_id) is None
    await store.add_result(row, Result(0, "a", 1, 0.1, "{}"), ())
    await store.end(row, "done")
    assert await history.delete("you", task_id) is None
    deleted = await history.delete("me", task_id.upper())
    assert deleted is not None
    assert [result.image_uuid for result in deleted.results] == ["a"]
    assert await store.find("me", task_id) is None
    await TaskIds(database).check_free("me", task_id)
