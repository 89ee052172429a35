"""Workers that die, that cannot start or that do not answer, and how they are started again."""

import asyncio

import pytest

from server.jobs.estimates import Measured
from server.jobs.storage.store import JobStore
from server.jobs.supervision import supervisor as supervisor_module
from server.jobs.supervision.supervisor import FAILED_STARTS, LONGEST_PAUSE_SECONDS, pause_seconds
from server.jobs.timing.silence import SilenceLimits
from server.jobs.timing.step_times import StepTimes
from server.media.store import MediaStore
from tests.fakes import FakeWorker
from tests.server.jobs.common import submission, until
from tests.server.jobs.supervision.supervised import Supervised, WatchedStore


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
