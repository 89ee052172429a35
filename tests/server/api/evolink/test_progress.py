from dataclasses import replace
from typing import Any

import pytest

from server.api.evolink.progress import ToldProgress
from server.database import Database
from server.jobs.job import Job, State
from server.jobs.storage.store import JobStore
from tests.server.jobs.common import submission


class FakeQueue:
    """A queue whose progress is what the test says."""

    now = 0

    def progress(self, job: Job) -> int:
        return self.now


@pytest.fixture
def queue() -> FakeQueue:
    return FakeQueue()


async def test_it_never_falls(database: Database, store: JobStore, queue: Any) -> None:
    job, other = [await store.accept(submission(number)) for number in range(2)]

    async def seen_at(now: int, state: State = "running") -> list[int]:
        queue.now = now
        # A process that starts has told nothing.
        return await ToldProgress(database, queue).of(replace(job, state=state))

    assert [await seen_at(now) for now in (0, 40, 0, 10, 70, 0)] == [[0], [40], [40], [40], [70], [70]]
    queue.now = 0
    assert await ToldProgress(database, queue).of(other, job) == [0, 70]
    assert [await seen_at(0, state) for state in ("queued", "failed", "failed")] == [[70], [70], [70]]
    await store.end(job.id, "failed")
    await store.accept(submission(0))
    assert await seen_at(0, "queued") == [0]


async def test_a_task_that_is_deleted_meanwhile_is_told_of_once(database: Database, queue: Any) -> None:
    queue.now = 30
    assert await ToldProgress(database, queue).of(Job(1, submission(), "running", 0.0)) == [30]
    queue.now = 0
    assert await ToldProgress(database, queue).of(Job(1, submission(), "running", 0.0)) == [0]
