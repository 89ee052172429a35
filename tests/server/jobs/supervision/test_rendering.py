"""A job at a worker that is lost, or shares it with others; the rest is shown by the tests of the supervisor."""

import asyncio
import sqlite3
from typing import Any

import pytest

from server.jobs.events import JobEvents
from server.jobs.job import CANCELLED, Job
from server.jobs.policy.admission import QueueBounds
from server.jobs.policy.company import Neighbour
from server.jobs.recorder import JobRecorder
from server.jobs.scheduler import Scheduler
from server.jobs.storage.store import JobStore
from server.jobs.supervision.rendering import Rendering
from server.jobs.timing.silence import SilenceLimits
from server.jobs.timing.step_times import StepTimes
from server.jobs.workers.backend import WorkerDied
from server.keys.api_key import NO_LIMITS
from server.media.store import MediaStore
from tests.fakes import FakeWorker
from tests.server.jobs.common import submission, until


class Box:
    def __init__(self, worker: FakeWorker, store: JobStore, media: MediaStore, times: StepTimes) -> None:
        self.worker, self.store, self.times = worker, store, times
        self.recorder = JobRecorder(store, media, JobEvents())
        self.scheduler = Scheduler(store, QueueBounds(9, 1e6), lambda owner: NO_LIMITS, list)

    async def begin(self, number: int = 0, count: int = 1) -> Rendering:
        if await self.store.find(*submission(number).key) is None:
            await self.store.accept(submission(number, count), estimate=9.0)
        job = await self.scheduler.claim()
        assert job is not None
        return Rendering(job, self.worker, self.scheduler, self.recorder, self.times)

    async def state(self, rendering: Rendering) -> Job:
        job = await self.store.find(*rendering.job.submission.key)
        assert job is not None
        return job


@pytest.fixture
def box(worker: FakeWorker, store: JobStore, media: MediaStore, times: StepTimes) -> Box:
    return Box(worker, store, media, times)


def ignore() -> None:
    """Nobody listens."""


async def lose(box: Box, rendering: Rendering) -> Job:
    box.worker.die = True
    with pytest.raises(WorkerDied):
        await rendering.run(ignore)
    await rendering.lose("")
    return await box.state(rendering)


async def test_a_job_that_was_alone_fails_with_its_worker(box: Box) -> None:
    job = await lose(box, await box.begin())
    assert (job.state, job.failure and job.failure.message) == (
        "failed",
        "The worker process ended during this task.",
    )


async def test_a_job_that_had_company_begins_again_alone_and_once(box: Box) -> None:
    rendering = await box.begin()
    rendering.beside_others = True
    job = await lose(box, rendering)
    assert (job.state, job.tried) == ("queued", False)  # it is not tried again yet
    again = await box.begin()
    assert again.job.tried
    assert box.recorder.render_job(again.job).alone
    again.beside_others = True
    assert (await lose(box, again)).state == "failed"


async def test_a_job_that_had_company_and_was_cancelled_does_not_begin_again(box: Box) -> None:
    rendering = await box.begin()
    rendering.beside_others = True
    rendering.cancel()
    job = await lose(box, rendering)
    assert (job.state, job.failure) == ("cancelled", CANCELLED)


async def test_a_job_whose_result_is_lost_stays_failed_when_the_worker_dies_too(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*arguments: Any) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    def die(job_id: int) -> None:
        raise WorkerDied

    monkeypatch.setattr(box.store, "add_result", full)
    monkeypatch.setattr(box.worker, "cancel", die)
    rendering = await box.begin()
    await rendering.run(ignore)
    assert (await box.state(rendering)).state == "failed"


async def test_a_job_that_is_to_be_alone_waits_for_the_others(box: Box) -> None:
    rendering = await box.begin()
    rendering.beside_others = True
    await lose(box, rendering)
    assert await box.scheduler.claim([Neighbour(9, "x", 0.0)]) is None
    assert await box.scheduler.claim() is not None


async def test_the_device_is_free_for_others_after_the_last_step(box: Box) -> None:
    box.worker.hold(index=1)
    rendering = await box.begin(count=2)
    assert not rendering.steps_done
    running = asyncio.create_task(rendering.run(ignore))
    await until(box.worker.held.is_set)
    assert rendering.progress is not None
    assert (rendering.progress.index, rendering.steps_done) == (1, False)
    box.worker.release()
    await running
    assert rendering.steps_done


async def test_its_owner_is_charged_what_it_used_itself(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    charged: list[float] = []
    monkeypatch.setattr(box.scheduler, "release", lambda job, used: charged.append(used))
    box.worker.busy = 2.0
    await (await box.begin(1, count=2)).run(ignore)
    assert charged == [4.0]
    box.worker.hold()
    rendering = await box.begin(2)
    running = asyncio.create_task(rendering.run(ignore))
    await until(box.worker.held.is_set)
    rendering.cancel()
    await running
    step = box.times.estimates.step_seconds(rendering.job.submission.request)
    assert charged[1] == pytest.approx(step)  # one step of an image that was not finished
    assert step > 0


async def test_a_worker_that_was_heard_of_may_be_silent_again(box: Box) -> None:
    heard: list[int] = []
    rendering = await box.begin()
    await rendering.run(lambda: heard.append(1))
    assert len(heard) >= 4  # two steps, an image, the end
    assert rendering.allowed_silence(SilenceLimits(least=5.0)) >= 5.0
