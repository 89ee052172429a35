"""Processes that run a fake in place of the models, and what happens to them."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from pipelines.catalog.catalog import Catalog
from server.jobs import worker_process
from server.jobs.backend import Worker, WorkerDied, WorkerStartFailed
from server.jobs.messages import Cancelled, Finished, ImageWritten, Output, Progress, RenderJob
from server.jobs.worker_process import WorkerMain, WorkerProcess
from server.media.encode import Encoding
from tests.server.jobs import fake_mains
from tests.server.jobs.common import REQUEST

ENDLESS = 10**9


def process_of(main: WorkerMain) -> WorkerProcess:
    return WorkerProcess("cpu", Catalog(()), "error", main)


@pytest.fixture
async def process() -> AsyncIterator[WorkerProcess]:
    process = process_of(fake_mains.render)
    await process.start()
    yield process
    await process.stop()


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., RenderJob]:
    def make(job_id: int, steps: int = 3) -> RenderJob:
        outputs = tuple(Output(index, tmp_path / f"{job_id}-{index}.png") for index in range(2))
        return RenderJob(job_id, replace(REQUEST, seed=7, steps=steps), Encoding("PNG", 95), outputs)

    return make


def kill(process: WorkerProcess) -> None:
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)


async def test_jobs_one_after_the_other(process: WorkerProcess, job: Callable[..., RenderJob], tmp_path: Path) -> None:
    worker: Worker = process
    assert (worker.device, worker.description) == ("cpu", "fake device")

    replies = [reply async for reply in worker.render(job(1))]
    assert [reply.step for reply in replies if isinstance(reply, Progress)] == [1, 2, 3, 1, 2, 3]
    assert [(image.index, image.seed) for image in replies if isinstance(image, ImageWritten)] == [(0, 7), (1, 8)]
    assert replies[-1] == Finished(1)
    with Image.open(tmp_path / "1-0.png") as image:
        assert image.size == (REQUEST.width, REQUEST.height)

    # A cancelled job stops between steps. A cancel that comes too late stops no other job.
    replies = []
    async for reply in worker.render(job(2, ENDLESS)):
        replies.append(reply)
        worker.cancel(2)
    assert replies[-1] == Cancelled(2)
    worker.cancel(2)
    assert [reply async for reply in worker.render(job(3))][-1] == Finished(3)

    # Stopped in the middle of an image, the process ends by itself at its next step.
    async for _ in worker.render(job(4, ENDLESS)):
        break
    (child,) = multiprocessing.active_children()
    await worker.stop()
    assert child.exitcode == 0


async def test_a_process_that_is_killed_while_it_renders(process: WorkerProcess, job: Callable[..., RenderJob]) -> None:
    async def kill_at_the_first_step() -> None:
        async for _ in process.render(job(1, ENDLESS)):
            kill(process)

    with pytest.raises(WorkerDied):
        await kill_at_the_first_step()


async def test_a_process_that_is_killed_while_idle_is_noticed_and_can_be_started_again(
    job: Callable[..., RenderJob],
) -> None:
    process, ended = process_of(fake_mains.render), asyncio.Event()
    await process.start(ended.set)
    kill(process)
    await ended.wait()
    with pytest.raises(WorkerDied):
        process.cancel(1)
    await process.start()
    assert [reply async for reply in process.render(job(1))][-1] == Finished(1)
    await process.stop()


async def test_a_process_that_cannot_start_says_why() -> None:
    process = process_of(fake_mains.fail_to_start)
    with pytest.raises(WorkerStartFailed, match="device cpu: no weights"):
        await process.start()
    await process.stop()


async def test_a_process_that_ends_while_it_starts() -> None:
    process = process_of(fake_mains.end_at_once)
    with pytest.raises(WorkerDied):
        await process.start()
    await process.stop()


async def test_a_process_that_does_not_stop_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "STOP_GRACE_SECONDS", 0.01)
    monkeypatch.setattr(worker_process, "TERMINATION_SECONDS", 0.5)
    process = process_of(fake_mains.ignore_terminate)
    await process.start()
    (child,) = multiprocessing.active_children()
    await process.stop()
    assert child.exitcode == -signal.SIGKILL


async def test_a_process_that_was_never_started() -> None:
    process = process_of(fake_mains.render)
    assert process.pid is None
    with pytest.raises(WorkerDied):
        process.cancel(1)
    await process.stop()


def test_replies_after_the_event_loop_has_closed_are_dropped() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    ours, theirs = multiprocessing.Pipe()
    theirs.send(Finished(1))
    worker_process._read(ours, lambda reply: None, loop)
    theirs.close()
    ours.close()
