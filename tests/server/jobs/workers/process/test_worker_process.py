"""Processes that run a fake in place of the models, beyond what `test_backend` asks of every worker."""

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from pipelines.catalog.catalog import Catalog
from pipelines.models.residency.options import DEFAULT_OPTIONS
from server.jobs.workers.backend import WorkerDied
from server.jobs.workers.messages import Finished, Output, RenderJob
from server.jobs.workers.process import fork_server, worker_process
from server.jobs.workers.process.worker_process import WorkerMain, WorkerProcess
from server.media.encode import Encoding
from server.options.log_options import LogOptions
from tests.server.jobs import fake_mains
from tests.server.jobs.common import REQUEST, until
from tests.server.jobs.workers.process.forks import preloading

pytestmark = pytest.mark.usefixtures("light_forks")

ENDLESS = 10**9


def process_of(main: WorkerMain) -> WorkerProcess:
    return WorkerProcess("cpu", Catalog(()), DEFAULT_OPTIONS, LogOptions("error"), main)


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


@pytest.mark.slow
async def test_a_cancel_that_comes_too_late_stops_no_other_job(
    process: WorkerProcess, job: Callable[..., RenderJob]
) -> None:
    assert (process.device, process.description) == ("cpu", "fake device")
    assert [reply async for reply in process.render(job(1))][-1] == Finished(1)
    process.cancel(1)
    assert [reply async for reply in process.render(job(2))][-1] == Finished(2)


@pytest.mark.slow
async def test_a_process_that_is_stopped_in_the_middle_of_an_image_ends_at_its_next_step(
    process: WorkerProcess, job: Callable[..., RenderJob]
) -> None:
    async for _ in process.render(job(1, ENDLESS)):
        break
    (child,) = multiprocessing.active_children()
    await process.stop()
    assert child.exitcode == 0  # by itself, not by a signal


async def test_a_process_that_is_killed_while_it_renders(process: WorkerProcess, job: Callable[..., RenderJob]) -> None:
    async def kill_at_the_first_step() -> None:
        async for _ in process.render(job(1, ENDLESS)):
            kill(process)

    with pytest.raises(WorkerDied):
        await kill_at_the_first_step()


async def test_a_process_is_spawned_when_the_one_to_fork_from_ends(job: Callable[..., RenderJob]) -> None:
    process = process_of(fake_mains.render)
    with preloading("broken_preload"), structlog.testing.capture_logs() as logs:
        await process.start()
    assert "is spawned" in logs[0]["event"]
    assert [reply async for reply in process.render(job(1))][-1] == Finished(1)
    await process.stop()


async def test_a_start_that_is_cancelled_waits_for_no_import() -> None:
    with preloading("endless_preload"):
        threads, before = threading.active_count(), fork_server.process_id()
        starting = asyncio.create_task(process_of(fake_mains.render).start())
        await until(lambda: fork_server.process_id() not in (None, before))
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        await asyncio.get_running_loop().shutdown_default_executor()
        assert threading.active_count() == threads


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


async def test_a_process_that_still_loads_is_killed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The end of a server that was starting took five seconds."""
    monkeypatch.setattr(worker_process, "STOP_GRACE_SECONDS", 3600.0)
    process = process_of(fake_mains.load_for_ever)
    starting = asyncio.create_task(process.start())
    await until(lambda: process.pid is not None)
    (child,) = multiprocessing.active_children()
    await process.stop()
    assert child.exitcode == -signal.SIGKILL
    with pytest.raises(WorkerDied):
        await starting


async def test_a_process_that_does_not_answer_is_killed(process: WorkerProcess) -> None:
    (child,) = multiprocessing.active_children()
    assert child.pid is not None
    os.kill(child.pid, signal.SIGSTOP)
    await process.kill()
    assert child.exitcode == -signal.SIGKILL
    await process.stop()
    await process.kill()  # nothing is left to end


async def test_a_stopped_process_without_a_job_does_not_answer(process: WorkerProcess) -> None:
    assert await process.answers(30.0)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    assert not await process.answers(0.05)
    await process.kill()
    with pytest.raises(WorkerDied):
        await process.answers(30.0)


async def test_the_last_words_of_a_process() -> None:
    process = process_of(fake_mains.fail_with_words)
    assert await process.last_words() == ""
    with pytest.raises(WorkerDied):
        await process.start()
    assert await process.last_words() == "ended by SIGABRT; first line; CUDA error: out of luck"


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (None, "still running"),
        (3, "exit status 3"),
        (-9, "ended by SIGKILL, as the system does when memory runs out"),
        (-11, "ended by SIGSEGV"),
        (-99, "ended by signal 99"),
    ],
)
def test_an_exit_status_in_words(status: int | None, words: str) -> None:
    assert worker_process.describe_exit(status) == words


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
