"""Hand-written stand-ins that behave like the real thing, only smaller."""

import asyncio
import contextlib
import functools
import hashlib
import io
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from pipelines.batching import MOST_IMAGES, BatchGains
from pipelines.models.engaged import Engaged
from server.jobs.workers.backend import WorkerDied, WorkerStartFailed
from server.jobs.workers.messages import (
    Cancelled,
    Failed,
    Finished,
    ImageWritten,
    Loading,
    Output,
    Phase,
    Preview,
    Progress,
    RenderJob,
    Reply,
)
from server.media.decoding.decode import Picture, check_picture, rewrite_picture, shrink_picture
from server.media.decoding.decoder_pool import DecoderPool
from server.media.encode import Encoding, encode
from server.options.sharing import ALONE

if TYPE_CHECKING:
    from server.errors import Failure
    from server.jobs.estimates import Measured

PAUSE_SECONDS = 0.002


class FakeWorker:
    """Draws flat pictures whose colour is the seed, in two steps each.

    `hold` keeps it at its first step until released; `fail` makes it fail; `die` makes the process end once.
    `loads` makes it load weights for each job, and `hold` then keeps it there.
    `measured` and `busy` are what it tells of the seconds of each image.
    `dying_starts` of its next starts end without a word. `silent` makes it answer nothing until it is killed.
    """

    def __init__(self, device: str = "fake") -> None:
        self.device = device
        self.description = f"{device} device"
        self.engaged: Engaged | None = None
        self.gains: BatchGains | None = None
        self.sharing = ALONE
        self.held = threading.Event()
        self.go = threading.Event()
        self.go.set()
        self.fail: Failure | None = None
        self.die = False
        self.unsafe = False
        self.loads = False
        self.start_failure: str | None = None
        self.measured: Measured | None = None
        self.busy: float | None = None
        self.dying_starts = 0
        self.silent = False
        self.killed = 0
        self.starts = 0
        self.jobs: list[RenderJob] = []
        self._cancelled: set[int] = set()
        self.watched: list[tuple[int, bool]] = []
        self._hold_from = 0
        self._ended_start = -1

    def hold(self, index: int = 0) -> None:
        """Stop at the first step of a job's image of that index, until `release`."""
        self._hold_from = index
        self.held.clear()
        self.go.clear()

    def release(self) -> None:
        self.go.set()

    async def start(self, on_end: Callable[[], None]) -> None:
        self.starts += 1
        self.on_end = on_end
        if self.start_failure is not None:
            raise WorkerStartFailed(self.start_failure)
        if self.dying_starts:
            self.dying_starts -= 1
            raise WorkerDied
        while self.silent:  # noqa: ASYNC110  set by a test
            await asyncio.sleep(PAUSE_SECONDS)

    async def render(self, job: RenderJob) -> AsyncIterator[Reply]:
        self.jobs.append(job)
        start = self.starts
        self._cancelled.discard(job.job_id)  # it may be rendered again, and the id of a deleted job may come again
        if self.die:
            self.die = False
            raise WorkerDied
        if self.silent:
            while self.silent:  # noqa: ASYNC110  set by a test
                await asyncio.sleep(PAUSE_SECONDS)
            raise WorkerDied  # it was killed
        if self.loads:
            yield Loading(job.job_id)
            self.held.set()
            await self._loaded(start)
        for output in job.outputs:
            for step in (1, 2):
                yield Progress(job.job_id, output.index, step, 2, reused=step == 2)
                if (job.job_id, True) in self.watched[-1:]:
                    yield Preview(job.job_id, output.index, step, b"jpeg")
                if output.index >= self._hold_from:
                    self.held.set()
                    await self._released(job, start)
                if job.job_id in self._cancelled:
                    yield Cancelled(job.job_id)
                    return
            if self.fail is not None:
                yield Failed(job.job_id, self.fail)
                return
            yield self._draw(job, output.index)
        yield Finished(job.job_id)

    async def _loaded(self, start: int) -> None:
        """A worker that loads reads no message."""
        while not self.go.is_set():
            if self._ended_start >= start:
                raise WorkerDied
            await asyncio.sleep(PAUSE_SECONDS)

    async def _released(self, job: RenderJob, start: int) -> None:
        while not self.go.is_set() and job.job_id not in self._cancelled:
            if self._ended_start >= start:
                raise WorkerDied
            await asyncio.sleep(PAUSE_SECONDS)

    def watch(self, job_id: int, watched: bool) -> None:
        self.watched.append((job_id, watched))

    def cancel(self, job_id: int) -> None:
        self._cancelled.add(job_id)

    def end_now(self) -> None:
        """End in the middle of the jobs that are held."""
        self._ended_start = self.starts

    async def answers(self, seconds: float) -> bool:
        return not self.silent

    async def stop(self) -> None:
        self.go.set()

    async def kill(self) -> None:
        self.killed += 1
        self.silent = False

    async def last_words(self) -> str:
        return "last words"

    def _draw(self, job: RenderJob, index: int) -> ImageWritten:
        image = write_flat_image(job, next(output for output in job.outputs if output.index == index))
        return replace(
            image, measured=self.measured, busy=self.busy, unsafe=None if job.safety is None else self.unsafe
        )


class FakeImage:
    """One image of a `FakeWriter`."""

    def __init__(self, writer: "FakeWriter", job: RenderJob, outputs: Sequence[Output]) -> None:
        self.writer, self.job, self.outputs = writer, job, outputs
        self.output = outputs[0]
        self.step, self.steps = 0, job.request.steps
        self.step_reused = False
        self.shared = False
        self.weights = 0

    @property
    def ready(self) -> bool:
        return self.step == self.steps

    def share(self) -> None:
        self.shared = True

    def prepare(self) -> None:
        self.writer.do("prepare", self)

    def advance(self) -> None:
        self.writer.do("advance", self)
        self.step += 1

    def preview(self) -> Callable[[], bytes] | None:
        self.writer.previews += 1
        return lambda: b"jpeg"

    def decode(self, after_step: Callable[[], None]) -> None:
        self.writer.do("decode", self)
        if self.job.request.faces is not None:
            after_step()

    def write(self) -> tuple[ImageWritten, ...]:
        self.writer.do("write", self)
        return tuple(write_flat_image(self.job, output) for output in self.outputs)


class FakeWriter:
    """Writes flat pictures as `FakeWorker` does, in as many steps as the request says. An `error` is raised instead.

    `freed` counts how often its memory was freed, `written` how many images it was told of. `log` has what was done: a
    word, the job and the image. A test may let a thing wait, or fail, with `before`.
    """

    description = "fake device"
    engaged: Engaged | None = None
    gains: BatchGains | None = None

    def __init__(self, error: Exception | None = None, *, on_gpu: bool = False) -> None:
        self.error = error
        self.on_gpu = on_gpu
        self.freed = self.previews = self.written = 0
        self.closed = False
        self.room = 8  # jobs that fit beside another one
        self.together = 1  # images of a job
        self.joined = 1  # images of several jobs
        self.compiles_once = False  # for the first batch
        self.batches: list[list[int]] = []  # the jobs of each batch that was evaluated
        self.log: list[tuple[str, int, int]] = []
        self.before: Callable[[str, FakeImage], None] = lambda word, image: None
        self.other_weights: set[int] = set()  # jobs whose weights are not loaded

    def do(self, word: str, image: FakeImage) -> None:
        self.before(word, image)
        self.log.append((word, image.job.job_id, image.output.index))

    def loads(self, job: RenderJob) -> bool:
        return job.job_id in self.other_weights

    def images_together(self, job: RenderJob) -> int:
        return self.together

    def tasks_together(self, job: RenderJob, images: int = MOST_IMAGES) -> int:
        return max(1, min(self.joined, images))

    def compiles(self, images: Sequence[Any]) -> bool:
        return self.compiles_once and not self.batches

    def evaluate(self, images: Sequence[Any]) -> None:
        self.do("evaluate", images[0])
        self.batches.append([image.job.job_id for image in images])

    def open(self, job: RenderJob, outputs: Sequence[Output], before_load: Callable[[], None]) -> FakeImage:
        if job.job_id in self.other_weights:
            before_load()
            self.other_weights.remove(job.job_id)
        if self.error is not None:
            raise self.error
        image = FakeImage(self, job, outputs)
        self.do("open", image)
        return image

    def fits_beside(self, job: RenderJob, others: Sequence[RenderJob]) -> bool:
        return len(others) < self.room

    def encodes_beside(self) -> bool:
        return self.on_gpu

    def decodes_beside(self, job: RenderJob, stepping: RenderJob | None) -> bool:
        return self.on_gpu and job.request.faces is None

    def beside(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext()

    def keep_pace(self) -> None: ...

    def note_written(self) -> None:
        self.written += 1

    def free_memory(self) -> None:
        self.freed += 1

    def close(self) -> None:
        self.closed = True


@functools.lru_cache(64)
def _flat_image(size: tuple[int, int], red: int, encoding: Encoding) -> bytes:
    """Most tests draw the same ones. Encoding a large one takes as long as the rest of a task."""
    return encode(Image.new("RGB", size, (red, 128, 200)), encoding)


def write_flat_image(job: RenderJob, output: Output) -> ImageWritten:
    """A picture of one colour, which is the seed, in its file."""
    request = job.request
    seed = request.seed + output.index
    size = request.width, request.height
    data = _flat_image(size, seed % 256, job.encoding)
    output.path.parent.mkdir(parents=True, exist_ok=True)
    output.path.write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    now = time.time()
    phases = Phase("steps", now - 0.01, now), Phase("encode", now, now)
    return ImageWritten(job.job_id, output.index, *size, digest, seed, 0.01, "{}", (), phases=phases)


def picture(width: int = 64, height: int = 48, image_format: str = "PNG") -> bytes:
    """A small picture with some structure, encoded."""
    image = Image.linear_gradient("L").resize((width, height)).convert("RGB")
    image.paste((220, 40, 40), (0, 0, width // 3, height // 2))
    buffer = io.BytesIO()
    image.save(buffer, image_format)
    return buffer.getvalue()


class InProcessDecoders(DecoderPool):
    """Decodes in the process of the test, which starts no others."""

    async def open(self) -> None: ...

    async def _decode(
        self, data: bytes, max_pixels: int, path: Path | None, owner: str, longest: int | None = None
    ) -> Picture:
        if path is None:
            return await asyncio.to_thread(check_picture, data, max_pixels)
        if longest is not None:
            return await asyncio.to_thread(shrink_picture, data, max_pixels, path, longest)
        return await asyncio.to_thread(rewrite_picture, data, max_pixels, path)
