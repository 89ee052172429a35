import pytest

from server.errors import ConflictTaskUUID, Failure
from server.jobs.job import Submission
from server.jobs.storage.store import JobStore
from tests.server.jobs.common import submission

WORK = submission(1)
FAILURE = Failure("invalidImage", "no picture", 400)


@pytest.fixture
def empty() -> Submission:
    """A task before its pictures are there."""
    return submission(1, count=0)


async def test_no_worker_takes_it_before_it_is_prepared(store: JobStore, empty: Submission) -> None:
    job = await store.unprepared.accept(empty, "spec", estimate=5.0)
    assert (job.state, job.submission.image_uuids, job.estimate) == ("queued", (), 5.0)
    assert await store.claim() is None
    assert [task.seconds for task in await store.waiting()] == [5.0]
    assert await store.waiting(prepared=True) == ()
    assert await store.unprepared.waiting() == [(job, "spec")]
    prepared = await store.unprepared.prepare(WORK, estimate=7.0)
    assert prepared is not None
    assert (prepared.id, prepared.submission, prepared.estimate) == (job.id, WORK, 7.0)
    claimed = await store.claim()
    assert claimed is not None
    assert claimed.id == job.id
    assert await store.unprepared.prepare(WORK, estimate=7.0) is None
    assert await store.unprepared.spec(job) is None


async def test_one_that_ends_before_keeps_its_spec(store: JobStore, empty: Submission) -> None:
    job = await store.unprepared.accept(empty, "spec", estimate=5.0)
    with pytest.raises(ConflictTaskUUID):
        await store.unprepared.accept(empty, "other", estimate=5.0)
    ended = await store.end_queued(*empty.key, FAILURE, "failed")
    assert ended is not None
    assert (ended.state, ended.failure) == ("failed", FAILURE)
    assert await store.unprepared.prepare(WORK, estimate=7.0) is None
    assert await store.unprepared.waiting() == []
    assert await store.unprepared.spec(job) == "spec"
    again = await store.accept(WORK)
    assert await store.unprepared.spec(again) is None
