import asyncio
import errno
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from server.database import Database
from server.errors import Failure
from server.jobs.estimates import Measured
from server.jobs.events import Begun, Ended, JobEvents, PreviewReady, ResultReady, StepDone
from server.jobs.job import Job, Submission
from server.jobs.policy.admission import QueueBounds
from server.jobs.queue import DEFAULT_SILENCE
from server.jobs.recorder import JobRecorder
from server.jobs.scheduler import Scheduler
from server.jobs.storage.store import Beside, Choose, JobStore, first_come
from server.jobs.supervision import supervisor as supervisor_module
from server.jobs.supervision.supervisor import FAILED_STARTS, LONGEST_PAUSE_SECONDS, Supervisor, pause_seconds
from server.jobs.timing.silence import SilenceLimits
from server.jobs.timing.step_times import StepTimes
from server.keys.api_key import NO_LIMITS
from server.media.store import MediaStore
from server.options.sharing import Sharing
from server.tasks.task_ids import IdClaims
from tests.fakes import FakeWorker
from tests.server.jobs.common import ended, submission, until


class WatchedStore(JobStore):
    """Tells when a worker has found no job."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, IdClaims("job"))
        self.idle = asyncio.Event()

    async def claim(self, choose: Choose = first_come, beside: Beside = lambda chosen: ()) -> Job | None:
        job = await super().claim(choose, beside)
        if job is None:
            self.idle.set()
        return job


class Supervised:
    """A supervisor at work, and the events of its jobs."""

    def __init__(
        self,
        worker: FakeWorker,
        store: JobStore,
        media: MediaStore,
        times: StepTimes,
        limits: SilenceLimits = DEFAULT_SILENCE,
    ) -> None:
        self.events = JobEvents()
        self.store = store
        self.times = times
        self.failures: list[str | None] = []
        self.seen: list[Submission] = []
        recorder = JobRecorder(store, media, self.events)
        scheduler = Scheduler(store, QueueBounds(9, 1e6), lambda owner: NO_LIMITS, list)
        self.supervisor = Supervisor(worker, scheduler, recorder, times, limits, self.note_failure)
        self.task = asyncio.create_task(self.supervisor.run())

    async def note_failure(self) -> None:
        self.failures.append(self.supervisor.start_failure)
        if len(self.failures) == 1:
            raise sqlite3.OperationalError("database or disk is full")  # it must not end the driver

    async def render(self, work: Submission) -> Job:
        with self.events.watch(work.key) as events:
            await self.store.accept(work, estimate=self.times.estimates.seconds(work.request))
            self.seen.append(work)
            self.supervisor.wake()
            return await ended(events)


@pytest.fixture
def store(database: Database) -> WatchedStore:
    return WatchedStore(database)


@pytest.fixture
async def supervised(
    worker: FakeWorker, store: JobStore, media: MediaStore, times: StepTimes
) -> AsyncIterator[Supervised]:
    supervised = Supervised(worker, store, media, times)
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
    (running,) = supervisor.renderings
    assert running.job.submission == work
    assert running.progress is not None
    assert (running.progress.step, running.progress.steps) == (1, 2)
    assert supervisor.state == "busy"
    worker.release()
    assert (await rendering).state == "done"
    await until(lambda: not supervisor.renderings)
    assert supervisor.state == "idle"


async def test_previews_are_asked_for_while_somebody_watches(supervised: Supervised, worker: FakeWorker) -> None:
    work = submission(count=2)
    with supervised.events.watch_live(work.key) as mailbox:
        rendering = asyncio.create_task(supervised.render(work))
        events = [await mailbox.get()]
        while not isinstance(events[-1], Ended):
            events.append(await mailbox.get())
        await rendering
    kinds = {type(event) for event in events}
    assert {Begun, StepDone, PreviewReady, ResultReady, Ended} <= kinds
    (last,) = [event for event in events if isinstance(event, StepDone)][-1:]
    assert (last.index, last.step, last.steps, last.reused) == (1, 2, 2, True)
    assert (await supervised.render(submission(1))).state == "done"
    assert worker.watched == [(1, True)]  # the next job has a fresh start, and nobody watches it


async def test_previews_end_with_the_watching(supervised: Supervised, worker: FakeWorker) -> None:
    work = submission(count=2)
    worker.hold(index=1)
    with supervised.events.watch_live(work.key):
        rendering = asyncio.create_task(supervised.render(work))
        await until(worker.held.is_set)
    worker.release()
    await rendering
    assert worker.watched == [(1, True), (1, False)]


@pytest.fixture
async def loading(supervised: Supervised, worker: FakeWorker) -> AsyncIterator[asyncio.Task[Job]]:
    """A job whose weights are being loaded."""
    worker.loads = True
    worker.hold()
    job = asyncio.create_task(supervised.render(submission(1)))
    await until(worker.held.is_set)
    yield job
    worker.release()


async def test_a_job_that_is_cancelled_while_it_loads_ends_at_once_and_the_load_goes_on(
    supervised: Supervised, worker: FakeWorker, loading: asyncio.Task[Job]
) -> None:
    """It ended with the load, which takes minutes."""
    (rendering,) = supervised.supervisor.renderings
    assert rendering.renders(submission(1).key)
    reason = Failure("taskCancelled", "too late", 500)
    for _ in range(2):
        rendering.cancel(reason)
    job = await loading  # the worker has not answered
    assert (job.state, job.failure, job.results) == ("cancelled", reason, ())
    assert (rendering.renders(submission(1).key), supervised.supervisor.state) == (False, "busy")
    with supervised.events.watch(submission(1).key) as events:
        await supervised.store.accept(submission(1))  # its id is free
        worker.release()
        assert (await ended(events)).state == "done"
    assert len(worker.jobs) == 2
    assert worker.starts == 1


async def test_a_worker_that_dies_while_it_loads_for_a_cancelled_job(
    supervised: Supervised, worker: FakeWorker, loading: asyncio.Task[Job], store: WatchedStore
) -> None:
    supervised.supervisor.renderings[0].cancel()
    assert (await loading).state == "cancelled"
    worker.end_now()
    await until(lambda: worker.starts == 2)
    found = await store.find(*submission(1).key)
    assert found is not None
    assert found.state == "cancelled"


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


async def test_a_worker_that_cannot_start_is_given_up(
    worker: FakeWorker, store: JobStore, media: MediaStore, times: StepTimes
) -> None:
    worker.start_failure = "no weights"
    supervised = Supervised(worker, store, media, times)
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
    assert worker.starts == 1


async def test_a_result_on_a_full_disk_is_told_as_that(supervised: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(JobStore, "add_result", full)
    job = await supervised.render(submission())
    assert job.failure is not None
    assert (job.failure.code, job.failure.status) == ("insufficientStorage", 507)


async def test_a_claim_that_fails_is_tried_again(
    supervised: Supervised, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    fails_once(monkeypatch, "claim")
    assert (await supervised.render(submission())).state == "done"
    assert worker.starts == 1


async def test_a_worker_that_ends_at_each_start_is_reported_and_started_less_and_less_often(
    worker: FakeWorker, store: WatchedStore, media: MediaStore, times: StepTimes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was started every second for ever, and nobody who waited heard of it."""
    pauses: list[float] = []
    real = asyncio.sleep

    async def slept(seconds: float) -> None:
        pauses.append(seconds)
        await real(0)

    monkeypatch.setattr(supervisor_module, "RESTART_PAUSE_SECONDS", 1.0)
    monkeypatch.setattr(supervisor_module.asyncio, "sleep", slept)
    worker.dying_starts = FAILED_STARTS + 1
    supervised = Supervised(worker, store, media, times)
    await supervised.supervisor.started()
    assert supervised.failures[0] == "The worker ended 3 times in a row: last words"
    await store.idle.wait()
    assert pauses[:4] == [0.0, 1.0, supervisor_module.RESTART_PAUSE_SECONDS, 4.0]  # the third was reported in vain
    assert (supervised.supervisor.ready, supervised.supervisor.start_failure) == (True, None)
    supervised.task.cancel()


def test_the_pauses_grow_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor_module, "RESTART_PAUSE_SECONDS", 1.0)
    assert [pause_seconds(ends) for ends in (1, 2, 3, 10_000)] == [0.0, 1.0, 2.0, LONGEST_PAUSE_SECONDS]


async def test_a_worker_that_ends_with_each_task_is_started_again_at_once(
    supervised: Supervised, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tasks that end their worker must not hold up those of others."""
    monkeypatch.setattr(supervisor_module, "RESTART_PAUSE_SECONDS", 3600.0)
    for number in range(5):
        worker.die = True
        assert (await supervised.render(submission(number))).state == "failed"
    assert (await supervised.render(submission(9))).state == "done"
    assert supervised.failures == []


async def test_a_worker_whose_weights_vanish_later_is_started_again(
    supervised: Supervised, worker: FakeWorker, store: WatchedStore
) -> None:
    await store.idle.wait()
    worker.start_failure = "no weights"
    worker.on_end()
    await until(lambda: bool(supervised.failures))
    assert supervised.supervisor.start_failure is not None
    assert supervised.supervisor.start_failure.endswith("no weights")
    worker.start_failure = None
    assert (await supervised.render(submission())).state == "done"
    assert supervised.supervisor.start_failure is None


async def test_a_worker_that_does_not_answer_is_ended(
    worker: FakeWorker, store: WatchedStore, media: MediaStore, times: StepTimes
) -> None:
    """A stopped process was never noticed: its task ran for ever, and all others waited."""
    times.estimates.learn(submission().request, Measured(1e-6, 1e-6))
    supervised = Supervised(worker, store, media, times, SilenceLimits(least=0.05, loading=60.0))
    await store.idle.wait()
    worker.silent = True
    job = await supervised.render(submission(1))
    assert job.failure is not None
    assert "did not answer" in job.failure.message
    assert worker.killed == 1
    assert (await supervised.render(submission(2))).state == "done"
    supervised.task.cancel()


async def test_a_worker_that_does_not_answer_while_it_loads_is_ended(
    worker: FakeWorker, store: WatchedStore, media: MediaStore, times: StepTimes
) -> None:
    worker.silent = True
    supervised = Supervised(worker, store, media, times, SilenceLimits(least=60.0, loading=0.05))
    await store.idle.wait()
    assert (worker.killed, worker.starts) == (1, 2)
    supervised.task.cancel()


async def test_a_worker_that_does_not_answer_without_a_job_is_ended(
    worker: FakeWorker, store: WatchedStore, media: MediaStore, times: StepTimes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stopped process without a job was noticed by its next task, which failed."""
    monkeypatch.setattr(supervisor_module, "IDLE_CHECK_SECONDS", 0.01)
    supervised = Supervised(worker, store, media, times)
    await store.idle.wait()
    worker.silent = True
    await until(lambda: worker.starts == 2)
    assert worker.killed == 1
    assert (await supervised.render(submission())).state == "done"
    supervised.task.cancel()


async def test_the_seconds_of_an_image_are_learnt(
    supervised: Supervised, worker: FakeWorker, times: StepTimes, store: WatchedStore
) -> None:
    worker.measured = Measured(0.5, 2.0)
    await supervised.render(submission())
    request = submission().request
    assert times.estimates.step_seconds(request) == pytest.approx(0.5)
    assert times.estimates.rest_seconds(request) == 2.0


async def test_a_worker_that_ends_with_the_server_is_no_error_and_its_job_goes_on_later(
    supervised: Supervised, worker: FakeWorker, store: WatchedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module.log, "error", pytest.fail)
    work = submission()
    worker.die = True
    supervised.supervisor.announce_stop()
    await store.accept(work)
    supervised.supervisor.wake()
    await supervised.task
    job = await store.find(*work.key)
    assert job is not None
    assert (job.state, worker.starts) == ("running", 1)


async def test_a_driver_that_fails_makes_the_worker_not_ready_and_begins_again(
    worker: FakeWorker,
    store: WatchedStore,
    media: MediaStore,
    times: StepTimes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Stopping the worker fails on top: the driver ended for ever, and the server still said that it was ready."""
    readiness = list[bool]()

    async def broken_stop() -> None:
        readiness.append(supervised.supervisor.ready)
        raise OSError(28, "No space left on device")

    async def broken_claim() -> Job | None:
        monkeypatch.setattr(supervised.supervisor, "_next_job", next_job)
        raise SystemError

    monkeypatch.setattr(worker, "stop", broken_stop)
    supervised = Supervised(worker, store, media, times)
    next_job = supervised.supervisor._next_job
    await store.idle.wait()
    monkeypatch.setattr(supervised.supervisor, "_next_job", broken_claim)
    supervised.supervisor.wake()
    await supervised.render(submission(1))
    monkeypatch.setattr(supervised.supervisor, "_next_job", broken_claim)
    assert (await supervised.render(submission(2))).state == "done"
    await until(lambda: len(readiness) == 2)  # the worker is not left beside the next one
    assert readiness == [False, False]
    supervised.task.cancel()


class TestSharing:
    """A worker that takes more than one job."""

    @pytest.fixture
    def worker(self) -> FakeWorker:
        worker = FakeWorker()
        worker.sharing = Sharing(overlap=True, renders=2)
        return worker

    async def begin(self, supervised: Supervised, worker: FakeWorker, *owners: str) -> list[asyncio.Task[Job]]:
        """A long job of each owner, all of them at the worker; the last ones wait."""
        worker.hold()
        works = [replace(submission(number), owner=owner) for number, owner in enumerate(owners)]
        works = [replace(work, request=replace(work.request, steps=40)) for work in works]
        supervised.times.estimates.learn(works[0].request, Measured(60.0, 1.0))
        tasks = []
        for number, work in enumerate(works):
            tasks.append(asyncio.create_task(supervised.render(work)))
            await until(lambda number=number: len(supervised.seen) > number)
        return tasks

    async def test_jobs_of_two_keys_are_rendered_together(self, supervised: Supervised, worker: FakeWorker) -> None:
        tasks = await self.begin(supervised, worker, "a", "b", "c")
        await until(lambda: len(worker.jobs) == 2)
        assert [each.job.submission.owner for each in supervised.supervisor.renderings] == ["a", "b"]
        assert [(job.owner, job.weight) for job in worker.jobs] == [("a", 1.0), ("b", 1.0)]
        worker.release()
        assert {(await task).state for task in tasks} == {"done"}
        assert len(worker.jobs) == 3

    async def test_jobs_of_one_key_wait_for_each_other_unless_one_is_short(
        self, supervised: Supervised, worker: FakeWorker
    ) -> None:
        tasks = await self.begin(supervised, worker, "a", "a")
        await until(worker.held.is_set)
        short = replace(submission(8), owner="a", request=replace(submission(8).request, steps=1))
        tasks.append(asyncio.create_task(supervised.render(short)))
        await until(lambda: len(worker.jobs) == 2)
        assert [job.request.steps for job in worker.jobs] == [40, 1]
        worker.release()
        assert {(await task).state for task in tasks} == {"done"}

    async def test_jobs_of_other_models_wait(self, supervised: Supervised, worker: FakeWorker) -> None:
        tasks = await self.begin(supervised, worker, "a")
        await until(worker.held.is_set)
        for number, model in enumerate(("other:1@1", submission().request.model.upper()), 7):
            work = replace(submission(number), owner="b", request=replace(submission(number).request, model=model))
            tasks.append(asyncio.create_task(supervised.render(work)))
            await until(lambda number=number: len(supervised.seen) > number - 6)
        assert len(worker.jobs) == 1  # nobody passes by the one that is next
        worker.release()
        assert {(await task).state for task in tasks} == {"done"}

    async def test_a_cancel_ends_one_of_them(self, supervised: Supervised, worker: FakeWorker) -> None:
        first, second = await self.begin(supervised, worker, "a", "b")
        await until(lambda: len(supervised.supervisor.renderings) == 2)
        supervised.supervisor.renderings[0].cancel()
        assert (await first).state == "cancelled"
        worker.release()
        assert (await second).state == "done"

    async def test_a_worker_that_dies_with_two_jobs_costs_none_of_them(
        self, supervised: Supervised, worker: FakeWorker
    ) -> None:
        tasks = await self.begin(supervised, worker, "a", "b")
        await until(lambda: len(worker.jobs) == 2)
        worker.end_now()
        await until(lambda: worker.starts == 2 and len(worker.jobs) == 3)
        assert [(job.alone, job.owner) for job in worker.jobs[2:]] == [(True, "a")]
        worker.release()
        assert {(await task).state for task in tasks} == {"done"}
        assert [job.alone for job in worker.jobs[2:]] == [True, True]

    async def test_a_job_that_ends_its_worker_alone_too_fails_and_the_other_one_does_not(
        self, supervised: Supervised, worker: FakeWorker
    ) -> None:
        first, second = await self.begin(supervised, worker, "a", "b")
        await until(lambda: len(worker.jobs) == 2)
        worker.end_now()
        await until(lambda: len(worker.jobs) == 3)
        worker.end_now()
        assert (await first).state == "failed"
        worker.release()
        assert (await second).state == "done"

    async def test_a_result_that_cannot_be_recorded_fails_its_job_only(
        self, supervised: Supervised, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tasks = await self.begin(supervised, worker, "a", "b")
        await until(lambda: len(worker.jobs) == 2)
        fails_once(monkeypatch, "add_result")
        worker.release()
        assert sorted([(await task).state for task in tasks]) == ["done", "failed"]
        assert worker.starts == 1

    async def test_silence_is_that_of_the_worker(
        self, worker: FakeWorker, store: WatchedStore, media: MediaStore, times: StepTimes
    ) -> None:
        supervised = Supervised(worker, store, media, times, SilenceLimits(least=0.05, loading=60.0))
        times.estimates.learn(submission().request, Measured(1e-6, 1e-6))
        await store.idle.wait()
        worker.silent = True
        tasks = [
            asyncio.create_task(supervised.render(replace(submission(number), owner=owner)))
            for number, owner in enumerate("ab")
        ]
        await until(lambda: worker.killed == 1)
        assert {(await task).state for task in tasks} == {"done"}  # each of them alone
        supervised.task.cancel()
