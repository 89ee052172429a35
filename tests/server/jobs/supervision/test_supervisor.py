import asyncio
import errno
from collections.abc import AsyncIterator
from typing import Any

import pytest

from server.errors import Failure
from server.jobs.estimates import Measured
from server.jobs.events import Begun, Ended, PreviewReady, ResultReady, StepDone
from server.jobs.job import Job
from server.jobs.storage.store import JobStore
from server.jobs.timing.step_times import StepTimes
from server.media.store import MediaStore
from tests.fakes import FakeWorker
from tests.server.jobs.common import ended, submission, until
from tests.server.jobs.supervision.supervised import Supervised, WatchedStore, fails_once


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


async def test_the_seconds_of_an_image_are_learnt(
    supervised: Supervised, worker: FakeWorker, times: StepTimes, store: WatchedStore
) -> None:
    worker.measured = Measured(0.5, 2.0)
    await supervised.render(submission())
    request = submission().request
    assert times.estimates.step_seconds(request) == pytest.approx(0.5)
    assert times.estimates.rest_seconds(request) == 2.0


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
