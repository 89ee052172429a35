import asyncio
import contextlib
from collections.abc import AsyncIterator

from server.jobs.events import JobEvents
from server.jobs.policy.admission import QueueBounds
from server.jobs.queue import DEFAULT_SILENCE
from server.jobs.recorder import JobRecorder
from server.jobs.scheduler import Busy, Scheduler
from server.jobs.storage.store import JobStore
from server.jobs.supervision.pool import WorkerPool
from server.jobs.supervision.supervisor import Supervisor
from server.jobs.timing.step_times import StepTimes
from server.keys.api_key import NO_LIMITS
from server.media.store import MediaStore
from tests.fakes import FakeWorker
from tests.server.jobs.common import submission, until


@contextlib.asynccontextmanager
async def pool_of(
    *workers: FakeWorker, store: JobStore, media: MediaStore, times: StepTimes
) -> AsyncIterator[WorkerPool]:
    recorder = JobRecorder(store, media, JobEvents())
    scheduler = Scheduler(store, QueueBounds(9, 1e6), lambda owner: NO_LIMITS, list)
    pool = WorkerPool(
        [Supervisor(each, scheduler, recorder, times, DEFAULT_SILENCE, lambda: asyncio.sleep(0)) for each in workers]
    )
    yield pool
    await pool.stop()


async def test_before_a_worker_is_ready(store: JobStore, media: MediaStore, times: StepTimes) -> None:
    async with pool_of(FakeWorker("one"), FakeWorker("two"), store=store, media=media, times=times) as pool:
        assert (pool.ready, pool.failure, pool.lost) == (False, None, False)
        assert pool.problem == "starting: no model is loaded yet on one device or two device"
        assert pool.states == ("starting", "starting")
        assert (pool.jobs, pool.busy()) == (((), ()), [])


async def test_one_of_two_that_cannot_start(store: JobStore, media: MediaStore, times: StepTimes) -> None:
    broken = FakeWorker("one")
    broken.start_failure = "no weights"
    async with pool_of(broken, FakeWorker("two"), store=store, media=media, times=times) as pool:
        pool.start()
        await pool.started()
        assert (pool.ready, pool.failure, pool.problem, pool.lost) == (True, "no weights", None, False)
        assert (pool.devices, pool.states) == (("one device", "two device"), ("failed", "idle"))
        assert pool.busy() == [Busy()]


async def test_workers_that_never_start_were_not_lost(store: JobStore, media: MediaStore, times: StepTimes) -> None:
    broken = FakeWorker()
    broken.start_failure = "no weights"
    async with pool_of(broken, store=store, media=media, times=times) as pool:
        pool.start()
        await pool.started()
        assert (pool.ready, pool.problem, pool.lost) == (False, "no weights", False)


async def test_who_has_a_job(store: JobStore, media: MediaStore, times: StepTimes) -> None:
    worker, work = FakeWorker(), submission()
    worker.hold()
    await store.accept(work, estimate=1.0)
    async with pool_of(worker, store=store, media=media, times=times) as pool:
        pool.start()
        await until(worker.held.is_set)
        rendering = pool.rendering_of(work.key)
        assert rendering is not None
        assert pool.beside(rendering) == (rendering,)
        assert pool.jobs == ((rendering.job,),)
        assert pool.running_jobs == (rendering.job,)
        assert [[owner for owner, _ in busy.jobs] for busy in pool.busy()] == [[work.owner]]
        assert pool.states == ("busy",)
        assert pool.rendering_of(("another", work.task_uuid)) is None
