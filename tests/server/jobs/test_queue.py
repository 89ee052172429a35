import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace

import pytest

from server.errors import Failure, ServiceUnavailable
from server.jobs.events import ResultReady, Stopping
from server.jobs.job import Job, Submission
from server.jobs.policy.admission import QueueBounds
from server.jobs.queue import RETENTION_SECONDS, JobQueue
from server.jobs.storage.store import JobStore
from server.jobs.supervision import supervisor
from server.jobs.timing.step_times import StepTimes
from server.jobs.workers.backend import Worker, WorkerDied
from server.media.store import MediaStore
from tests.fakes import FakeWorker
from tests.server.jobs.common import ended, submission, until

BOUNDS = QueueBounds(9, 1e6)
Open = Callable[..., AbstractAsyncContextManager[JobQueue]]


@pytest.fixture
def opened(store: JobStore, media: MediaStore, times: StepTimes) -> Open:
    """A queue over the test's data folder. Opened twice, it has the same data."""

    @asynccontextmanager
    async def open_queue(*workers: Worker) -> AsyncIterator[JobQueue]:
        queue = JobQueue(store, media, workers, times, bounds=BOUNDS)
        await queue.open()
        try:
            yield queue
        finally:
            await queue.close()

    return open_queue


async def run(queue: JobQueue, work: Submission) -> Job:
    with queue.watch(work.key) as events:
        await queue.submit(work)
        return await ended(events)


async def test_images_are_reported_one_by_one_and_kept(opened: Open, worker: FakeWorker) -> None:
    work = submission(count=3)
    async with opened(worker) as queue:
        with queue.watch(work.key) as events:
            await queue.submit(work)
            ready = [await events.get() for _ in range(3)]
            assert [event.result.index for event in ready if isinstance(event, ResultReady)] == [0, 1, 2]
            job = await ended(events)
        assert job.state == "done"
        assert await queue.find(*work.key) == job


async def test_cancelling_what_waits_and_what_runs(opened: Open, worker: FakeWorker) -> None:
    worker.hold()
    running, waiting, last = submission(1, count=2), submission(2), submission(3)
    async with opened(worker) as queue:
        with queue.watch(running.key) as first, queue.watch(waiting.key) as second, queue.watch(last.key) as third:
            for work in (running, waiting, last):
                await queue.submit(work)
            await until(worker.held.is_set)
            assert await queue.waiting() == 2
            assert await queue.cancel(*waiting.key) == "cancelled"
            assert (await ended(second)).state == "cancelled"
            assert await queue.cancel(*running.key) == "cancelled"
            assert (await ended(first)).state == "cancelled"
            worker.release()
            assert (await ended(third)).state == "done"
        assert await queue.cancel(*waiting.key) == "ended"
        assert await queue.cancel("another", waiting.task_uuid) == "unknown"
    assert len(worker.jobs) == 2


async def test_a_task_that_is_finished_before_its_worker_hears_of_the_cancel_has_ended(
    opened: Open, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.hold()
    monkeypatch.setattr(worker, "cancel", lambda job_id: worker.release())
    async with opened(worker) as queue:
        await queue.submit(submission())
        await until(worker.held.is_set)
        assert await queue.cancel(*submission().key) == "ended"


async def test_a_worker_that_dies_meanwhile_ends_the_task_too(
    opened: Open, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(job_id: int) -> None:
        worker.fail = Failure("inferenceError", "why", 500)
        worker.release()
        raise WorkerDied

    worker.hold()
    monkeypatch.setattr(worker, "cancel", die)
    async with opened(worker) as queue:
        await queue.submit(submission())
        await until(worker.held.is_set)
        assert await queue.cancel(*submission().key) == "ended"


async def test_a_task_that_is_put_back_during_the_cancel_is_cancelled(
    opened: Open, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.hold()
    real = JobStore.end_queued

    async def still_running(*arguments: object) -> None:
        monkeypatch.setattr(JobStore, "end_queued", real)

    async with opened(worker) as queue:
        await queue.submit(submission(1))
        await until(worker.held.is_set)
        await queue.submit(submission(2))
        monkeypatch.setattr(JobStore, "end_queued", still_running)
        async with asyncio.timeout(10):
            assert await queue.cancel(*submission(2).key) == "cancelled"


async def test_a_server_that_stops_cancels_nothing(
    opened: Open, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.hold()
    asked = asyncio.Event()
    monkeypatch.setattr(worker, "cancel", lambda job_id: asked.set())
    async with opened(worker) as queue:
        await queue.submit(submission())
        await until(worker.held.is_set)
        cancelling = asyncio.ensure_future(queue.cancel(*submission().key))
        await asked.wait()
        queue.announce_stop()
        with pytest.raises(ServiceUnavailable):
            await cancelling


async def test_turns_of_waiting_jobs(opened: Open, worker: FakeWorker) -> None:
    worker.hold()
    async with opened(worker) as queue:
        for number in range(3):
            await queue.submit(submission(number))
        await until(worker.held.is_set)
        first, second = await queue.turns()
        assert (first.position, second.position) == (0, 1)
        assert 0 < first.begins < first.ends == second.begins < second.ends
        await queue.cancel(*submission(1).key)
        (second,) = await queue.turns()
        assert (second.position, second.begins) == (0, first.begins)


async def test_progress(opened: Open, worker: FakeWorker) -> None:
    worker.hold()
    work = submission(count=2)
    async with opened(worker) as queue:
        with queue.watch(work.key) as events:
            job = await queue.submit(work)
            await until(lambda: queue.progress(job) == 25)  # one of two steps of one of two images
            worker.release()
            assert queue.progress(await ended(events)) == 100


async def test_an_interrupted_job_is_finished_after_a_restart(opened: Open) -> None:
    first, second = FakeWorker(), FakeWorker()
    work = submission(count=2)
    first.hold(index=1)
    async with opened(first) as queue:
        await queue.submit(work)
        await until(first.held.is_set)
    second.hold()
    async with opened(second) as queue:
        with queue.watch(work.key) as events:
            second.release()
            job = await ended(events)
        assert [result.index for result in job.results] == [0, 1]
    assert [output.index for job in second.jobs for output in job.outputs] == [1]


async def test_two_workers_share_the_work(opened: Open) -> None:
    workers = FakeWorker("one"), FakeWorker("two")
    for worker in workers:
        worker.hold()
    async with opened(*workers) as queue:
        assert queue.workers.devices == ("one device", "two device")
        for number in (1, 2):
            await queue.submit(submission(number))
        for worker in workers:
            await until(worker.held.is_set)
            worker.release()


async def test_without_a_worker_nothing_is_accepted(opened: Open, worker: FakeWorker) -> None:
    worker.start_failure = "no weights"
    async with opened(worker) as queue:
        await queue.workers.started()
        assert (queue.workers.ready, queue.workers.failure) == (False, "no weights")
        with pytest.raises(ServiceUnavailable, match="no weights"):
            await queue.submit(submission())


async def test_one_worker_of_two_is_enough(opened: Open, worker: FakeWorker) -> None:
    broken = FakeWorker()
    broken.start_failure = "no weights"
    async with opened(broken, worker) as queue:
        await queue.workers.started()
        assert (queue.workers.ready, queue.workers.failure) == (True, "no weights")
        assert (await run(queue, submission())).state == "done"


async def test_when_no_worker_starts_again_the_waiting_tasks_are_answered(opened: Open, worker: FakeWorker) -> None:
    """They waited for ever."""
    worker.hold()
    running, waiting = submission(1), submission(2)
    async with opened(worker) as queue:
        with queue.watch(running.key) as first, queue.watch(waiting.key) as second:
            await queue.submit(running)
            await until(worker.held.is_set)
            await queue.submit(waiting)
            worker.dying_starts = 10**9
            worker.end_now()
            assert (await ended(first)).state == "failed"
            job = await ended(second)
        assert job.failure is not None
        assert (job.failure.code, job.failure.status) == ("modelNotReady", 503)
        assert "last words" in job.failure.message
        assert await queue.find(*waiting.key) == job
        with pytest.raises(ServiceUnavailable, match="last words"):
            await queue.submit(submission(3))
        worker.dying_starts = 0
        await until(lambda: queue.workers.ready)
        worker.release()
        assert (await run(queue, submission(2))).state == "done"  # its id is free again


async def test_a_server_that_never_had_a_worker_keeps_its_tasks(
    opened: Open, worker: FakeWorker, store: JobStore
) -> None:
    await store.accept(submission())
    worker.dying_starts = 10**9
    async with opened(worker) as queue:
        await queue.workers.started()
        assert queue.workers.failure is not None
        assert await queue.waiting() == 1


async def test_two_workers_on_one_device_are_two(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = FakeWorker("one"), FakeWorker("one")
    monkeypatch.setattr(supervisor, "pause_seconds", lambda ends: 3600.0)
    async with opened(*workers) as queue:
        await queue.workers.started()
        workers[0].on_end()
        assert queue.workers.ready
        assert (await run(queue, submission())).state == "done"
    assert [len(worker.jobs) for worker in workers] == [0, 1]


async def test_stopping_is_told_to_all_who_wait(opened: Open, worker: FakeWorker) -> None:
    worker.hold()
    work = submission()
    async with opened(worker) as queue:
        with queue.watch(work.key) as events:
            await queue.submit(work)
            queue.announce_stop()
            assert isinstance(await events.get(), Stopping)
        assert (await queue.find(*work.key)) is not None


async def test_old_jobs_are_forgotten(opened: Open, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(worker) as queue:
        await run(queue, submission())
        await queue.sweep()
        assert await queue.find(*submission().key) is not None
        later = time.time() + RETENTION_SECONDS + 1
        monkeypatch.setattr(time, "time", lambda: later)
        await queue.sweep()
        assert await queue.find(*submission().key) is None


async def test_ids_are_compared_without_case(opened: Open, worker: FakeWorker) -> None:
    worker.hold()
    work = replace(submission(), task_uuid="ABCDEF00-0000-4000-8000-000000000000")
    async with opened(worker) as queue:
        with queue.watch(work.key) as events:
            await queue.submit(work)
            await until(worker.held.is_set)
            assert await queue.cancel("me", work.task_uuid) == "cancelled"
            assert (await ended(events)).state == "cancelled"


async def test_a_task_of_many_images_gives_way_between_two_of_them(opened: Open, worker: FakeWorker) -> None:
    worker.hold()
    long, short = replace(submission(1, count=3), owner="a"), replace(submission(2), owner="b")
    async with opened(worker) as queue:
        with queue.watch(long.key) as events, queue.watch(short.key) as others:
            await queue.submit(long)
            await asyncio.to_thread(worker.held.wait)
            await queue.submit(short)
            worker.release()
            first, second = await ended(others), await ended(events)
    assert (first.state, second.state, len(second.results)) == ("done", "done", 3)
    assert first.finished is not None
    assert second.finished is not None
    assert first.finished <= second.finished
    assert [job.job_id for job in worker.jobs] == [second.id, first.id, second.id]
    assert [output.index for output in worker.jobs[2].outputs] == [1, 2]


async def test_a_task_gives_no_way_to_its_own_key_nor_to_another_model(opened: Open, worker: FakeWorker) -> None:
    worker.hold()
    long = replace(submission(1, count=3), owner="a")
    own = replace(submission(2), owner="a")
    other = replace(submission(3), owner="b", request=replace(submission(3).request, model="other:1@1"))
    async with opened(worker) as queue:
        with queue.watch(own.key) as owns, queue.watch(other.key) as others:
            await queue.submit(long)
            await asyncio.to_thread(worker.held.wait)
            await queue.submit(own)
            await queue.submit(other)
            worker.release()
            await ended(owns)
            await ended(others)
    assert len(worker.jobs) == 3


async def test_a_task_that_is_cancelled_while_it_gives_way_does_not_wait_again(
    opened: Open, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.hold()
    long, short = replace(submission(1, count=3), owner="a"), replace(submission(2), owner="b")
    real, cancelling = JobStore.put_back, list[asyncio.Task[str]]()
    async with opened(worker) as queue:

        async def put_back(store: JobStore, job_id: int, estimate: float) -> None:
            rendering = queue.workers.rendering_of(long.key)
            assert rendering is not None
            cancelling.append(asyncio.create_task(queue.cancel(*long.key)))
            await until(lambda: rendering.cancelled)
            await real(store, job_id, estimate)

        monkeypatch.setattr(JobStore, "put_back", put_back)
        with queue.watch(long.key) as events:
            await queue.submit(long)
            await asyncio.to_thread(worker.held.wait)
            await queue.submit(short)
            worker.release()
            job = await ended(events)
    assert (job.state, len(job.results)) == ("cancelled", 1)
    assert [await task for task in cancelling] == ["cancelled"]
