from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from server.database import Database
from server.errors import ConflictTaskUUID, Failure, InvalidParameter
from server.jobs import rows as job_tables
from server.jobs.job import Job
from server.jobs.policy.admission import QueueBounds
from server.jobs.queue import JobQueue
from server.jobs.store import JobStore
from server.jobs.timing import step_times
from server.jobs.timing.step_times import StepTimes
from server.keys import usage
from server.media import store as media_tables
from server.media.store import MediaStore
from server.tasks import task_ids
from server.tasks.endings.failed_tasks import never_ran, record_failed
from server.tasks.task_ids import IdClaims
from tests.fakes import FakeWorker
from tests.server.jobs.common import submission

SCHEMAS = [media_tables.SCHEMA, job_tables.SCHEMA, task_ids.SCHEMA, step_times.SCHEMA, usage.SCHEMA]
TASK: dict[str, Any] = {"prompt": "a", "images": ["x" * 5000], "policy": {"ttl": 5}}


@pytest.fixture
async def queue(tmp_path: Path) -> AsyncIterator[JobQueue]:
    database = Database(tmp_path / "db.sqlite", SCHEMAS)
    media = MediaStore(database, tmp_path / "media")
    store, times = JobStore(database, IdClaims("job")), StepTimes(database)
    queue = JobQueue(store, media, [FakeWorker()], times, bounds=QueueBounds(9, 1e6))
    await queue.open()
    yield queue
    await queue.close()
    database.close()


async def record(queue: JobQueue, task_id: str = "one") -> Job:
    error = InvalidParameter("image", "The image cannot be read.")
    return await record_failed(queue, error, owner="me", dialect="small", task_id=task_id, task=TASK)


async def test_it_is_found_as_any_other_task(queue: JobQueue) -> None:
    recorded = await record(queue)
    found = await queue.find("me", "ONE")
    assert found is not None
    assert found == recorded
    assert (found.state, found.failure) == ("failed", Failure("invalidImage", "The image cannot be read.", 400))
    assert never_ran(found)


async def test_its_watchers_hear_of_its_end(queue: JobQueue) -> None:
    with queue.watch(("me", "one")) as events:
        recorded = await record(queue)
        assert (await events.get()).job == recorded  # type: ignore[union-attr]


async def test_an_inline_picture_is_not_kept(queue: JobQueue) -> None:
    task = (await record(queue)).submission.task
    assert task["images"] == ["x" * 64 + "… (5000 characters)"]
    assert (task["prompt"], task["policy"]) == ("a", {"ttl": 5})


async def test_a_failed_task_may_be_sent_again(queue: JobQueue) -> None:
    await record(queue)
    first = await queue.submit(submission(1))
    with pytest.raises(ConflictTaskUUID):
        await record(queue, first.submission.task_uuid)
    assert (await record(queue)).failure is not None
