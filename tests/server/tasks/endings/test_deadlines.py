import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from server.database import Database
from server.jobs.policy.admission import QueueBounds
from server.jobs.queue import JobQueue
from server.jobs.storage.history import JobHistory
from server.jobs.storage.store import JobStore
from server.jobs.timing.step_times import StepTimes
from server.media.store import MediaStore
from server.tasks.endings.deadlines import TIMED_OUT, Deadlines, Limits
from server.tasks.task_ids import IdClaims
from tests.fakes import FakeWorker
from tests.server.jobs.common import ended, submission, until


class Box:
    """A queue with one worker, and the limits of its tasks. Its clock is the test's: nothing ticks by itself."""

    def __init__(self, folder: Path, database: Database, store: JobStore) -> None:
        self.database = database
        self.media = MediaStore(self.database, folder / "media")
        self.worker = FakeWorker()
        times = StepTimes(self.database)
        self.queue = JobQueue(store, self.media, [self.worker], times, bounds=QueueBounds(9, 1e6))
        self.deadlines = Deadlines(self.database, self.queue, JobHistory(self.database, IdClaims("job")), self.media)


@pytest.fixture
async def box(tmp_path: Path, database: Database, store: JobStore) -> AsyncIterator[Box]:
    box = Box(tmp_path, database, store)
    await box.queue.open()
    await box.queue.workers.started()
    yield box
    box.worker.release()
    await box.deadlines.close()
    await box.queue.close()


async def accept(box: Box, limits: Limits) -> str:
    work = replace(submission(1), ttl=600)
    await box.queue.submit(work)
    await box.deadlines.set("me", work.task_uuid.upper(), limits)
    return work.task_uuid


async def test_a_task_that_runs_too_long_times_out(box: Box) -> None:
    box.worker.hold()
    with box.queue.watch(submission(1).key) as events:
        await accept(box, Limits(run_seconds=5))
        await until(lambda: bool(box.queue.workers.running_jobs))
        started = box.queue.workers.running_jobs[0].started or 0.0
        box.deadlines.tick(started + 4.9)
        assert box.queue.workers.running_jobs
        box.deadlines.tick(started + 5.1)
        job = await ended(events)
    assert (job.state, job.failure) == ("cancelled", TIMED_OUT)


async def test_a_task_whose_lifetime_is_over_is_gone_with_its_image(box: Box) -> None:
    expires = time.time() + 60
    with box.queue.watch(submission(1).key) as events:
        task_id = await accept(box, Limits(expires=expires))
        job = await ended(events)
    (result,) = job.results
    box.deadlines.tick(expires - 1)
    await box.deadlines.settled()
    assert await box.queue.find("me", task_id) is not None
    box.deadlines.tick(expires + 1)
    await box.deadlines.settled()
    assert await box.queue.find("me", task_id) is None
    assert await box.media.get(result.image_uuid, owner=None) is None


async def test_also_one_that_waits_or_runs(box: Box) -> None:
    box.worker.hold()
    task_id = await accept(box, Limits(expires=1.0))
    await until(lambda: bool(box.queue.workers.running_jobs))
    box.deadlines.tick(2.0)
    await box.deadlines.settled()
    assert await box.queue.find("me", task_id) is None


async def test_limits_hold_after_a_restart_and_end_with_their_task(box: Box) -> None:
    box.worker.hold()
    with box.queue.watch(submission(1).key) as events:
        task_id = await accept(box, Limits(run_seconds=5))
        await box.deadlines.sweep()
        assert box.deadlines.limits("me", task_id) == Limits(run_seconds=5)
        box.worker.release()
        await ended(events)
    await box.deadlines.sweep()
    assert box.deadlines.limits("me", task_id) == Limits()


async def test_a_task_that_is_gone_already_gets_none(box: Box) -> None:
    await box.deadlines.set("me", "nobody", Limits(expires=1.0))
    assert box.deadlines.limits("me", "nobody") == Limits()
