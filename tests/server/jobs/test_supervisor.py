import asyncio
import sqlite3
from collections.abc import AsyncIterator
from typing import Any

import pytest

from server.database import Database
from server.errors import Failure
from server.jobs import supervisor as supervisor_module
from server.jobs.events import JobEvents
from server.jobs.job import Job, Submission
from server.jobs.recorder import JobRecorder
from server.jobs.store import JobStore
from server.jobs.supervisor import Supervisor
from server.media.store import MediaStore
from server.tasks.task_ids import IdClaims
from tests.fakes import FakeWorker
from tests.server.jobs.common import ended, submission, until


class WatchedStore(JobStore):
    """Tells when a worker has found no job."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, IdClaims("job"))
        self.idle = asyncio.Event()

    async def claim(self) -> Job | None:
        job = await super().claim()
        if job is None:
            self.idle.set()
        return job


class Supervised:
    """A supervisor at work, and the events of its jobs."""

    def __init__(self, worker: FakeWorker, store: JobStore, media: MediaStore) -> None:
        self.events = JobEvents()
        self.store = store
        self.supervisor = Supervisor(worker, store, JobRecorder(store, media, self.events))
        self.task = asyncio.create_task(self.supervisor.run())

    async def render(self, work: Submission) -> Job:
        with self.events.watch(work.key) as events:
            await self.store.accept(work, limit=9)
            self.supervisor.wake()
            return await ended(events)


@pytest.fixture
def store(database: Database) -> WatchedStore:
    return WatchedStore(database)


@pytest.fixture
async def supervised(worker: FakeWorker, store: JobStore, media: MediaStore) -> AsyncIterator[Supervised]:
    supervised = Supervised(worker, store, media)
    yield supervised
    supervised.task.cancel()
    await asyncio.gather(supervised.task, return_exceptions=True)


def fails_once(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Let a method of the store fail at its next call, as on a full disk."""
    real = getattr(JobStore, method)

    async def full(self: JobStore, *arguments: Any) -> Any:
        monkeypatch.setattr(JobStore, method, real)
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(JobStore, method, full)


async def test_it_says_what_runs_and_how_far(supervised: Supervised, worker: FakeWorker) -> None:
    supervisor, work = supervised.supervisor, submission()
    worker.hold()
    rendering = asyncio.create_task(supervised.render(work))
    await until(worker.held.is_set)
    assert supervisor.job is not None
    assert supervisor.job.submission == work
    assert supervisor.progress is not None
    assert (supervisor.progress.step, supervisor.progress.steps) == (1, 2)
    worker.release()
    assert (await rendering).state == "done"
    await until(lambda: supervisor.job is None)
    assert supervisor.progress is None


async def test_cancelling_without_a_job_does_nothing(supervised: Supervised) -> None:
    await supervised.supervisor.started()
    supervised.supervisor.cancel()
    assert (await supervised.render(submission())).state == "done"


async def test_a_render_failure_fails_the_job_only(supervised: Supervised, worker: FakeWorker) -> None:
    worker.fail = Failure("inferenceError", "why", 500)
    job = await supervised.render(submission(1))
    assert job.state == "failed"
    assert job.failure is not None
    assert (job.failure.code, job.failure.message) == ("inferenceError", "why")
    worker.fail = None
    assert (await supervised.render(submission(2))).state == "done"
    assert worker.starts == 1


async def test_a_worker_that_dies_is_started_again(supervised: Supervised, worker: FakeWorker) -> None:
    worker.die = True
    job = await supervised.render(submission(1))
    assert job.failure is not None
    assert job.failure.code == "inferenceError"
    assert (await supervised.render(submission(2))).state == "done"
    assert worker.starts == 2


async def test_a_worker_that_dies_while_idle_is_started_again_and_costs_no_task(
    supervised: Supervised, worker: FakeWorker, store: WatchedStore
) -> None:
    await store.idle.wait()
    worker.on_end()
    assert not supervised.supervisor.ready
    await until(lambda: worker.starts == 2)
    assert (await supervised.render(submission())).state == "done"


async def test_a_worker_that_cannot_start_is_given_up(worker: FakeWorker, store: JobStore, media: MediaStore) -> None:
    worker.start_failure = "no weights"
    supervised = Supervised(worker, store, media)
    await supervised.supervisor.started()
    await supervised.task
    assert not supervised.supervisor.ready
    assert supervised.supervisor.start_failure == "no weights"


async def test_a_result_that_cannot_be_recorded_fails_its_job_only(
    supervised: Supervised, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails_once(monkeypatch, "add_result")
    job = await supervised.render(submission(1, count=2))
    assert job.state == "failed"
    assert await supervised.store.find(*submission(1).key) == job
    assert (await supervised.render(submission(2))).state == "done"
    assert worker.starts == 2  # its replies to the first job must not be read as those to the second


async def test_a_claim_that_fails_is_tried_again(
    supervised: Supervised, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails_once(monkeypatch, "claim")
    assert (await supervised.render(submission())).state == "done"
    assert worker.starts == 1


async def test_a_restart_waits(
    supervised: Supervised, worker: FakeWorker, store: WatchedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def slept(seconds: float) -> None:
        pauses.append(seconds)

    await store.idle.wait()
    monkeypatch.setattr(supervisor_module, "RESTART_PAUSE_SECONDS", 60.0)
    monkeypatch.setattr(supervisor_module.asyncio, "sleep", slept)
    worker.on_end()
    while worker.starts < 2:
        await supervised.store.count_queued()
    assert pauses == [60.0]


async def test_a_worker_that_ends_with_the_server_is_no_error_and_its_job_goes_on_later(
    supervised: Supervised, worker: FakeWorker, store: WatchedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module.log, "error", pytest.fail)
    work = submission()
    worker.die = True
    supervised.supervisor.announce_stop()
    await store.accept(work, limit=9)
    supervised.supervisor.wake()
    await supervised.task
    job = await store.find(*work.key)
    assert job is not None
    assert (job.state, worker.starts) == ("running", 1)


async def test_a_driver_that_fails_makes_the_worker_not_ready_and_begins_again(
    worker: FakeWorker, store: WatchedStore, media: MediaStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopping the worker fails on top: the driver ended for ever, and the server still said that it was ready."""
    monkeypatch.setattr(supervisor_module, "RESTART_PAUSE_SECONDS", 0.0)
    readiness = []

    async def broken_stop() -> None:
        readiness.append(supervised.supervisor.ready)
        raise OSError(28, "No space left on device")

    async def broken_claim() -> Job | None:
        monkeypatch.undo()
        monkeypatch.setattr(supervisor_module, "RESTART_PAUSE_SECONDS", 0.0)
        raise SystemError

    monkeypatch.setattr(worker, "stop", broken_stop)
    supervised = Supervised(worker, store, media)
    await store.idle.wait()
    monkeypatch.setattr(supervised.supervisor, "_next_job", broken_claim)
    supervised.supervisor.wake()
    await supervised.render(submission(1))
    monkeypatch.setattr(supervised.supervisor, "_next_job", broken_claim)
    assert (await supervised.render(submission(2))).state == "done"
    supervised.task.cancel()
