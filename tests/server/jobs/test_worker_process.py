"""A worker process with the real models, and what happens to it."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from pipelines.catalog.catalog import Catalog, load_catalog
from pipelines.request import ControlUse, LoraUse, Reference, RenderRequest, Sampler
from server.jobs.backend import WorkerDied, WorkerStartFailed
from server.jobs.messages import Cancelled, Failed, Finished, ImageWritten, Output, Progress, RenderJob
from server.jobs.worker_process import WorkerProcess
from server.media.encode import Encoding
from tests.lora_bytes import lora_bytes

REQUEST = RenderRequest("runware:108@1", "a", None, 64, 64, 3, Sampler(), 1.0, 7, 2)


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog().with_embedded_weights()


@pytest.fixture
async def process(catalog: Catalog) -> AsyncIterator[WorkerProcess]:
    process = WorkerProcess("cpu", catalog, "error")
    await process.start()
    yield process
    await process.stop()


def job(folder: Path, job_id: int = 1, **changes: object) -> RenderJob:
    outputs = tuple(Output(index, folder / f"{job_id}-{index}.png") for index in range(2))
    return RenderJob(job_id, replace(REQUEST, **changes), Encoding("PNG", 95), outputs)


async def test_jobs_one_after_the_other(process: WorkerProcess, tmp_path: Path) -> None:
    """One process for several scenarios: starting one takes seconds."""
    replies = [reply async for reply in process.render(job(tmp_path))]
    assert [reply.step for reply in replies if isinstance(reply, Progress)] == [1, 2, 3, 1, 2, 3]
    written = [reply for reply in replies if isinstance(reply, ImageWritten)]
    assert [(image.index, image.seed, image.width) for image in written] == [(0, 7, 64), (1, 8, 64)]
    assert isinstance(replies[-1], Finished)
    with Image.open(tmp_path / "1-0.png") as image:
        assert image.size == (64, 64)

    # A job that fails says why in words, and the next one is drawn.
    replies = [reply async for reply in process.render(job(tmp_path, 2, prompt="<|im_end|>"))]
    (failed,) = replies
    assert isinstance(failed, Failed)
    assert (failed.failure.code, failed.failure.status) == ("inferenceError", 500)
    assert "Traceback" not in failed.failure.message

    # A LoRA that is not there, or not for these weights, is named with its place in the request.
    other = tmp_path / "other.safetensors"
    other.write_bytes(lora_bytes("transformer_blocks.40.attn.to_q"))
    used = tmp_path / "used.safetensors"
    used.write_bytes(lora_bytes())
    for path, why in ((tmp_path / "gone.safetensors", "there is no file"), (other, "another model")):
        uses = (LoraUse("used", used), LoraUse("wanted", path))
        (failed,) = [reply async for reply in process.render(job(tmp_path, 2, loras=uses))]
        assert isinstance(failed, Failed)
        assert (failed.failure.code, failed.failure.status, failed.failure.path) == ("invalidModel", 400, "loras[1]")
        assert "LoRA 'wanted'" in failed.failure.message
        assert why in failed.failure.message

    # And so is a ControlNet.
    guide = Reference(tmp_path / "1-0.png", "", 64, 64)
    wanted = ControlUse("wanted", str(tmp_path / "no net"), guide)
    (failed,) = [reply async for reply in process.render(job(tmp_path, 2, controls=(wanted,)))]
    assert isinstance(failed, Failed)
    assert (failed.failure.code, failed.failure.path) == ("invalidModel", "controls[0]")
    assert "ControlNet 'wanted'" in failed.failure.message

    # A cancelled job stops between steps; a cancel that comes too late is for nobody.
    replies = []
    async for reply in process.render(job(tmp_path, 3, width=512, height=512, steps=50)):
        replies.append(reply)
        process.cancel(3)
    assert isinstance(replies[-1], Cancelled)
    assert len(replies) < 50
    process.cancel(3)

    again = [reply async for reply in process.render(job(tmp_path, 4))]
    assert (tmp_path / "4-0.png").read_bytes() == (tmp_path / "1-0.png").read_bytes()
    assert isinstance(again[-1], Finished)

    # Stopped in the middle of an image, it ends at its next step.
    async for _ in process.render(job(tmp_path, 5, width=512, height=512, steps=50)):
        break
    started = time.monotonic()
    await process.stop()
    assert time.monotonic() - started < 5


@pytest.mark.slow
async def test_a_killed_process_is_noticed(process: WorkerProcess, tmp_path: Path) -> None:
    async def kill_at_the_first_step() -> None:
        async for _ in process.render(job(tmp_path, width=512, height=512, steps=50)):
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)

    with pytest.raises(WorkerDied):
        await kill_at_the_first_step()


@pytest.mark.slow
async def test_a_process_that_is_killed_while_idle_says_so_and_can_be_started_again(
    catalog: Catalog, tmp_path: Path
) -> None:
    process, ended = WorkerProcess("cpu", catalog, "error"), asyncio.Event()
    await process.start(ended.set)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    await asyncio.wait_for(ended.wait(), 5)
    await process.start()
    replies = [reply async for reply in process.render(job(tmp_path))]
    assert isinstance(replies[-1], Finished)
    await process.stop()


@pytest.mark.slow
async def test_a_device_that_there_is_not(catalog: Catalog, tmp_path: Path) -> None:
    process = WorkerProcess("graphics", catalog, "error")
    with pytest.raises(WorkerStartFailed, match="graphics"):
        await process.start()
    await process.stop()


@pytest.mark.slow
async def test_weights_that_are_not_there(catalog: Catalog, tmp_path: Path) -> None:
    broken = Catalog((replace(catalog.entries[0], weights=str(tmp_path / "nothing")),))
    process = WorkerProcess("cpu", broken, "error")
    with pytest.raises(WorkerStartFailed, match="nothing"):
        await process.start()
    await process.stop()
