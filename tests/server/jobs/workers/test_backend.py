"""What the supervisor relies on, of each implementation of a worker."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.catalog.catalog import Catalog
from pipelines.models.residency.options import DEFAULT_OPTIONS
from server.jobs.workers.backend import Worker, WorkerDied, WorkerStartFailed
from server.jobs.workers.messages import Cancelled, Finished, ImageWritten, Output, Preview, Progress, RenderJob
from server.jobs.workers.process.worker_process import WorkerProcess
from server.media.encode import Encoding
from server.options.log_options import LogOptions
from tests.fakes import FakeWorker
from tests.server.jobs import fake_mains
from tests.server.jobs.common import REQUEST

pytestmark = pytest.mark.usefixtures("light_forks")


def fake() -> FakeWorker:
    return FakeWorker()


def process() -> WorkerProcess:
    return WorkerProcess("cpu", Catalog(()), DEFAULT_OPTIONS, LogOptions("error"), fake_mains.render)


def fake_that_cannot_start() -> FakeWorker:
    worker = FakeWorker()
    worker.start_failure = "no weights"
    return worker


def process_that_cannot_start() -> WorkerProcess:
    return WorkerProcess("cpu", Catalog(()), DEFAULT_OPTIONS, LogOptions("error"), fake_mains.fail_to_start)


@pytest.fixture(params=[fake, process], ids=["fake", "process"])
async def started(request: pytest.FixtureRequest) -> AsyncIterator[Worker]:
    worker: Worker = request.param()
    await worker.start(lambda: None)
    yield worker
    await worker.stop()


def job(folder: Path, job_id: int = 1, steps: int = 2) -> RenderJob:
    outputs = tuple(Output(index, folder / f"{job_id}-{index}.png") for index in range(2))
    return RenderJob(job_id, replace(REQUEST, seed=7, steps=steps), Encoding("PNG", 95), outputs)


async def test_a_worker_answers_before_and_after_a_job(started: Worker, tmp_path: Path) -> None:
    assert await started.answers(30.0)
    assert [reply async for reply in started.render(job(tmp_path))][-1] == Finished(1)
    assert await started.answers(30.0)


async def test_a_job_ends_after_all_its_images_with_one_last_reply(started: Worker, tmp_path: Path) -> None:
    assert started.description != started.device
    replies = [reply async for reply in started.render(job(tmp_path))]
    assert [(reply.step, reply.steps) for reply in replies if isinstance(reply, Progress)] == [(1, 2), (2, 2)] * 2
    images = [reply for reply in replies if isinstance(reply, ImageWritten)]
    assert [(image.index, image.seed) for image in images] == [(0, 7), (1, 8)]
    assert [index for index, reply in enumerate(replies) if isinstance(reply, Finished)] == [len(replies) - 1]
    assert all(output.path.is_file() for output in job(tmp_path).outputs)


async def test_a_cancelled_job_ends_and_the_next_one_is_rendered(started: Worker, tmp_path: Path) -> None:
    replies = []
    async for reply in started.render(job(tmp_path, 1, steps=10**9)):
        replies.append(reply)
        started.cancel(1)
    assert replies[-1] == Cancelled(1)
    assert [reply async for reply in started.render(job(tmp_path, 2))][-1] == Finished(2)


async def test_a_watched_job_sends_previews_and_the_next_one_none(started: Worker, tmp_path: Path) -> None:
    shown = []
    async for reply in started.render(job(tmp_path, 1, steps=10**9)):
        if isinstance(reply, Progress) and not shown:
            started.watch(1, True)
        elif isinstance(reply, Preview):
            shown.append(reply)
            started.cancel(1)
    assert (shown[0].job_id, shown[0].index, shown[0].jpeg) == (1, 0, b"jpeg")
    assert not [reply async for reply in started.render(job(tmp_path, 2)) if isinstance(reply, Preview)]


@pytest.mark.parametrize("make", [fake_that_cannot_start, process_that_cannot_start], ids=["fake", "process"])
async def test_a_worker_that_cannot_start_says_why(make: Callable[[], Worker]) -> None:
    worker = make()
    with pytest.raises(WorkerStartFailed, match="no weights"):
        await worker.start(lambda: None)
    await worker.stop()


def make_die(worker: Worker) -> None:
    if isinstance(worker, FakeWorker):
        worker.die = True
    elif isinstance(worker, WorkerProcess) and worker.pid is not None:
        os.kill(worker.pid, signal.SIGKILL)


async def test_a_worker_that_dies_fails_its_job_and_can_be_started_again(started: Worker, tmp_path: Path) -> None:
    make_die(started)
    with pytest.raises(WorkerDied):
        async for _ in started.render(job(tmp_path, 1)):
            pass
    await started.start(lambda: None)
    assert [reply async for reply in started.render(job(tmp_path, 2))][-1] == Finished(2)


@pytest.mark.slow
async def test_a_process_that_is_killed_while_idle_is_noticed() -> None:
    ended, worker = asyncio.Event(), process()
    await worker.start(ended.set)
    make_die(worker)
    await ended.wait()
    with pytest.raises(WorkerDied):
        worker.cancel(1)
    await worker.stop()
