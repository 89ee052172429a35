import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from server.database import Database
from server.errors import ServiceUnavailable
from server.jobs import queue as queue_module
from server.jobs import store as job_tables
from server.jobs.backend import Worker
from server.jobs.job import Job, Submission
from server.jobs.queue import Ended, Event, JobQueue, ResultReady, Stopping
from server.jobs.store import JobStore
from server.media import store as media_tables
from server.media.store import MediaStore
from tests.fakes import FakeWorker
from tests.server.jobs.test_store import SUBMISSION

Open = Callable[..., AbstractAsyncContextManager[JobQueue]]


@pytest.fixture
def opened(tmp_path: Path) -> Open:
    """A queue over the test's data folder; opened twice, it is the same data."""

    @asynccontextmanager
    async def open_queue(*workers: Worker) -> AsyncIterator[JobQueue]:
        database = Database(tmp_path / "db.sqlite", [media_tables.SCHEMA, job_tables.SCHEMA])
        queue = JobQueue(JobStore(database), MediaStore(database, tmp_path / "media"), workers, limit=9)
        await queue.open()
        try:
            yield queue
        finally:
            await queue.close()
            database.close()

    return open_queue


def submission(number: int = 0, count: int = 1) -> Submission:
    uuids = tuple(f"{number:08d}-0000-4000-8000-{index:012d}" for index in range(count))
    return replace(
        SUBMISSION,
        task_uuid=f"{number:08d}-0000-4000-8000-000000000000",
        task={"taskType": "imageInference", "taskUUID": f"{number:08d}-0000-4000-8000-000000000000"},
        request=replace(SUBMISSION.request, count=count, seed=number),
        image_uuids=uuids,
    )


async def run(queue: JobQueue, work: Submission) -> Job:
    with queue.watch(work.key) as events:
        await queue.submit(work)
        return await ended(events)


async def ended(events: "asyncio.Queue[Event]") -> Job:
    while not isinstance(event := await asyncio.wait_for(events.get(), 5), Ended):
        assert isinstance(event, ResultReady)
    return event.job


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came true")


async def test_images_are_reported_one_by_one_and_kept(opened: Open) -> None:
    work = submission(count=3)
    async with opened(FakeWorker()) as queue:
        with queue.watch(work.key) as events:
            await queue.submit(work)
            ready = [await events.get() for _ in range(3)]
            assert [event.result.index for event in ready if isinstance(event, ResultReady)] == [0, 1, 2]
            job = await ended(events)
        assert job.state == "done"
        assert await queue.find(*work.key) == job


async def test_a_render_failure_fails_the_job_only(opened: Open) -> None:
    worker = FakeWorker()
    worker.fail = ("inferenceError", "why")
    async with opened(worker) as queue:
        job = await run(queue, submission(1))
        assert job.state == "failed"
        assert job.failure is not None
        assert (job.failure.code, job.failure.message) == ("inferenceError", "why")
        worker.fail = None
        assert (await run(queue, submission(2))).state == "done"


async def test_a_dead_worker_is_started_again(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "RESTART_PAUSE_SECONDS", 0.01)
    worker = FakeWorker()
    worker.die = True
    async with opened(worker) as queue:
        assert (await run(queue, submission(1))).state == "failed"
        assert (await run(queue, submission(2))).state == "done"


async def test_cancelling_what_waits_and_what_runs(opened: Open) -> None:
    worker = FakeWorker()
    worker.hold()
    running, waiting, last = submission(1, count=2), submission(2), submission(3)
    async with opened(worker) as queue:
        with queue.watch(running.key) as first, queue.watch(waiting.key) as second, queue.watch(last.key) as third:
            for work in (running, waiting, last):
                await queue.submit(work)
            await until(worker.held.is_set)
            assert await queue.cancel(*waiting.key)
            assert (await ended(second)).state == "cancelled"
            assert await queue.cancel(*running.key)
            assert (await ended(first)).state == "cancelled"
            worker.release()
            assert (await ended(third)).state == "done"
        assert not await queue.cancel(*last.key)
    assert len(worker.jobs) == 2


async def test_progress(opened: Open) -> None:
    worker = FakeWorker()
    worker.hold()
    work = submission(count=2)
    async with opened(worker) as queue:
        with queue.watch(work.key) as events:
            job = await queue.submit(work)
            await until(lambda: queue.progress(job) == 25)  # one of two steps of one of two images
            worker.release()
            assert queue.progress(await ended(events)) == 100


async def test_what_was_running_is_drawn_again_after_a_restart_without_what_is_done(opened: Open) -> None:
    first, second = FakeWorker(), FakeWorker()
    work = submission(count=2)
    first.hold(index=1)
    async with opened(first) as queue:
        await queue.submit(work)
        await until(first.held.is_set)
    async with opened(second) as queue:
        with queue.watch(work.key) as events:
            job = await queue.find(*work.key)
            if job is None or not job.ended:
                job = await ended(events)
        assert [result.index for result in job.results] == [0, 1]
    assert [output.index for job in second.jobs for output in job.outputs] == [1]


async def test_two_workers_share_the_work(opened: Open) -> None:
    workers = FakeWorker("one"), FakeWorker("two")
    for worker in workers:
        worker.hold()
    async with opened(*workers) as queue:
        for number in (1, 2):
            await queue.submit(submission(number))
        for worker in workers:
            await until(worker.held.is_set)
            worker.release()


async def test_without_a_worker_nothing_is_accepted(opened: Open) -> None:
    worker = FakeWorker()
    worker.start_failure = "no weights"
    async with opened(worker) as queue:
        await queue.started()
        assert not queue.ready
        with pytest.raises(ServiceUnavailable, match="no weights"):
            await queue.submit(submission())


async def test_stopping_is_told_to_all_who_wait(opened: Open) -> None:
    worker = FakeWorker()
    worker.hold()
    work = submission()
    async with opened(worker) as queue:
        with queue.watch(work.key) as events:
            await queue.submit(work)
            queue.announce_stop()
            assert isinstance(await events.get(), Stopping)
        assert (await queue.find(*work.key)) is not None


async def test_a_worker_that_dies_while_idle_is_started_again_and_costs_no_task(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "RESTART_PAUSE_SECONDS", 0.01)
    worker = FakeWorker()
    async with opened(worker) as queue:
        await until(lambda: queue.ready)
        await asyncio.sleep(0.05)  # it waits for work
        worker.on_end()
        assert not queue.ready
        await until(lambda: worker.starts == 2)
        assert (await run(queue, submission(1))).state == "done"


async def test_a_result_that_cannot_be_kept_fails_its_job_only(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "RESTART_PAUSE_SECONDS", 0.01)
    keep = JobStore.add_result

    async def full(self: JobStore, *arguments: Any) -> Job:
        monkeypatch.setattr(JobStore, "add_result", keep)
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(JobStore, "add_result", full)
    async with opened(FakeWorker()) as queue:
        job = await run(queue, submission(1, count=2))
        assert job.state == "failed"
        assert await queue.find(*submission(1).key) == job
        assert (await run(queue, submission(2))).state == "done"


async def test_an_end_that_cannot_be_kept_is_still_told(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "RESTART_PAUSE_SECONDS", 0.01)
    end = JobStore.end

    async def full(self: JobStore, *arguments: Any) -> Job:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(JobStore, "end", full)
    async with opened(FakeWorker()) as queue:
        assert (await run(queue, submission(1))).state == "failed"
        monkeypatch.setattr(JobStore, "end", end)
        assert (await run(queue, submission(2))).state == "done"


async def test_a_claim_that_fails_is_tried_again(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "RESTART_PAUSE_SECONDS", 0.01)
    claim = JobStore.claim

    async def full(self: JobStore) -> None:
        monkeypatch.setattr(JobStore, "claim", claim)
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(JobStore, "claim", full)
    worker = FakeWorker()
    async with opened(worker) as queue:
        assert (await run(queue, submission(1))).state == "done"
    assert worker.starts == 1


async def test_two_workers_on_one_device_are_two(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue_module, "RESTART_PAUSE_SECONDS", 60)
    workers = FakeWorker("one"), FakeWorker("one")
    async with opened(*workers) as queue:
        await queue.started()
        await asyncio.sleep(0.05)
        workers[0].on_end()
        await asyncio.sleep(0.05)
        assert queue.ready
        assert (await run(queue, submission(1))).state == "done"
