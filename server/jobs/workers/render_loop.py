"""The loop of a worker: which image is advanced next, and what runs beside its steps.

Between two steps it takes what has arrived: jobs, cancels, and the ends of work in the background. Knows no model: its
writer does. Imports no torch.
"""

import contextlib
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Protocol, TypeVar

import structlog

from pipelines.models.engaged import Engaged
from server.jobs.policy.priority import PriorityTurns
from server.jobs.workers.background import Background, run_now
from server.jobs.workers.failures import failure_of, ran_out_of_memory
from server.jobs.workers.inbox import Completed, Inbox
from server.jobs.workers.messages import (
    Cancel,
    Cancelled,
    Failed,
    ImageWritten,
    Loading,
    Outcome,
    Output,
    Ping,
    Pong,
    Preview,
    Progress,
    RenderJob,
    Reply,
    Stop,
    Watch,
)
from server.jobs.workers.open_job import Image, Opened, OpenJob
from server.options.sharing import Sharing

log = structlog.get_logger()

T = TypeVar("T")

# Between two previews: more often than four times a second tells a person nothing.
PREVIEW_SECONDS = 0.25
# Images that wait to be written. More would hold memory for an end that takes longer than the steps.
MOST_ENDINGS = 2


class Stopped(Exception):
    """The process is to end."""


class _JobEnded(Exception):
    """The job of the image under way was stopped."""


class Writer(Protocol):
    """Renders images into files. `ImageWriter` is the real one; its `description` is the device in words.

    `engaged` is what its model runs with.
    """

    description: str
    on_gpu: bool
    engaged: Engaged | None

    def loads(self, job: RenderJob) -> bool:
        """Whether other weights have to be loaded for a job. No image may be under way then."""
        ...

    def images_together(self, job: RenderJob) -> int:
        """How many images of a job are faster together than one after the other."""
        ...

    def open(self, job: RenderJob, outputs: Sequence[Output], before_load: Callable[[], None]) -> Image:
        """An image of a job that is not prepared yet, or several together.

        Call `before_load` before other weights are loaded.
        """
        ...

    def fits_beside(self, job: RenderJob, others: Sequence[RenderJob]) -> bool:
        """Whether the memory is enough for the images of these jobs together."""
        ...

    def encodes_beside(self) -> bool:
        """Whether a prompt can be encoded beside the steps of another image."""
        ...

    def decodes_beside(self, job: RenderJob, stepping: RenderJob | None) -> bool:
        """Whether an image can be decoded beside the steps of another one."""
        ...

    def beside(self) -> AbstractContextManager[None]:
        """Work inside the `with` beside the steps."""
        ...

    def keep_pace(self) -> None:
        """Called after each step."""
        ...

    def note_written(self) -> None:
        """An image is in its file."""
        ...

    def free_memory(self) -> None:
        """Free all that the next image does not need, because the device ran out of memory."""
        ...

    def close(self) -> None:
        """Give back the setting of the device."""
        ...


class RenderLoop:
    """Renders the jobs of one worker."""

    def __init__(self, inbox: Inbox, send: Callable[[Reply], None], writer: Writer, sharing: Sharing) -> None:
        """`send` passes a reply to the API process."""
        self._inbox, self._send, self._writer = inbox, send, writer
        self._overlaps, self._most = sharing.overlap, sharing.renders
        self._turns = PriorityTurns()
        self._backgrounds = Background("encoding", inbox), Background("writing", inbox)
        self._encode, self._write = (background.submit for background in self._backgrounds)
        self._jobs: dict[int, OpenJob] = {}  # in the order of their arrival
        self._ran_out = False

    def run(self) -> None:
        """Render until a stop arrives or the server has gone. Raises `Stopped` or `EOFError` then."""
        while True:
            self._take_messages(wait=self._next_job() is None)
            self._make_room()
            self._open_beside()
            if (job := self._next_job()) is not None:
                with structlog.contextvars.bound_contextvars(task=job.job.task_uuid):
                    self._take_turn(job)
            if self._ran_out:  # now, because nothing refers to the image that failed
                self._ran_out = False
                self._writer.free_memory()

    def _next_job(self) -> OpenJob | None:
        """The job whose image is advanced or opened next. None while there is nothing to do but to wait."""
        if sum(len(job.endings) for job in self._jobs.values()) >= MOST_ENDINGS:
            return None
        ready = [number for number, job in self._jobs.items() if self._may_advance(job) or self._may_open(job)]
        chosen = self._turns.choose(ready)
        return None if chosen is None else self._jobs[chosen]

    def _may_advance(self, job: OpenJob) -> bool:
        return job.current is not None and not job.waits_for_encoder

    def _make_room(self) -> None:
        """Give up the images of low priority that another job would have to wait for.

        Jobs take turns without that where the memory is enough for both. These cannot: their steps are done again.
        """
        low = [job for job in self._jobs.values() if job.job.low and job.current is not None]
        others = [job for job in self._jobs.values() if not job.job.low] if low else ()
        if not any(self._may_open(job, instead=True) and not self._may_open(job) for job in others):
            return
        for job in low:
            log.info("an image of low priority begins again after another task", task=job.job.task_uuid)
            job.set_aside()

    def _may_open(self, job: OpenJob, *, instead: bool = False) -> bool:
        """Whether the next image of a job can begin now, or has to wait for those under way.

        Jobs begin in the order of their arrival, so that one that needs much memory is not passed by. One of low
        priority waits for the steps of all others. `instead` assumes that the images of low priority are given up.
        """
        if job.current is not None or not job.outputs:
            return False
        if job.job.low and any(each.steps_wait and not each.job.low for each in self._jobs.values()):
            return False
        stepping = [each for each in self._jobs.values() if each.current and not (instead and each.job.low)]
        peers = [each for each in self._jobs.values() if each.job.low == job.job.low]
        if not stepping and not any(each.endings for each in self._jobs.values()):
            # The background may still hold the memory and the weights of images that were stopped.
            waits = job.alone or self._writer.loads(job.job)
            return not (waits and any(background.pending for background in self._backgrounds))
        if job.alone or any(each.alone for each in (*peers, *stepping)) or self._writer.loads(job.job):
            return False
        if not job.begun and next(each for each in peers if each.outputs and not each.begun) is not job:
            return False
        if sum(job.job.low or not each.job.low for each in stepping) >= self._most:
            return False
        return not stepping or self._writer.fits_beside(job.job, [each.job for each in stepping])

    def _take_messages(self, *, wait: bool) -> None:
        """Take all that has arrived. Wait for the first message if there is nothing else to do."""
        while (message := self._inbox.take(wait=wait)) is not None:
            wait = False
            if isinstance(message, Stop):
                raise Stopped
            if isinstance(message, RenderJob):
                self._jobs[message.job_id] = job = OpenJob(message)
                self._turns.add(message.job_id, message.owner, message.weight, job.cost_left, low=message.low)
            elif isinstance(message, Ping):
                self._send(Pong())
            elif isinstance(message, Completed):
                message.done(message.future)
            elif isinstance(message, Cancel | Watch) and (job := self._jobs.get(message.job_id)):
                if isinstance(message, Watch):
                    job.watched = message.watched
                else:
                    job.stop(Cancelled(message.job_id))
                    self._send_next(job)

    def _take_turn(self, job: OpenJob) -> None:
        """Open the next image of a job, or advance its image by one step. After its last step an image is written."""
        with self._failures_of(job):
            if job.current is None:
                self._open(job)
            elif not job.current.image.ready:  # one without steps may have been prepared in the background
                self._advance(job, job.current)
            if job.current is not None and not job.waits_for_encoder and job.current.image.ready:
                self._end_steps(job, job.current)

    def _open_beside(self) -> None:
        """Have the prompt of the next job encoded while another one has its steps."""
        stepping = any(job.current is not None for job in self._jobs.values())
        if not (stepping and self._overlaps and self._writer.encodes_beside()):
            return
        for job in tuple(self._jobs.values()):
            if self._may_open(job):  # beside those that were opened just now
                with structlog.contextvars.bound_contextvars(task=job.job.task_uuid), self._failures_of(job):
                    self._open(job)

    def _open(self, job: OpenJob) -> None:
        most = 1 if job.alone else self._writer.images_together(job.job)
        outputs = tuple(islice(job.outputs, most))
        shared = any(other.under_way for other in self._jobs.values())
        stepping = any(other.current is not None for other in self._jobs.values())
        image = self._writer.open(job.job, outputs, partial(self._send, Loading(job.job.job_id)))
        for _ in outputs:
            job.outputs.popleft()
        job.current, job.begun = Opened(outputs, image), True
        opened = job.current
        if shared:
            for other in self._jobs.values():
                for each in other.under_way:
                    each.image.share()
        if self._overlaps and stepping and self._writer.encodes_beside():
            job.waits_for_encoder = True
            self._encode(self._beside(job, image.prepare), partial(self._end_encoding, job, opened))
        else:
            image.prepare()

    def _end_encoding(self, job: OpenJob, opened: Opened, done: Future[None]) -> None:
        if job.current is opened:  # else it was stopped meanwhile
            job.waits_for_encoder = False
            with self._failures_of(job):
                done.result()

    def _advance(self, job: OpenJob, opened: Opened) -> None:
        image, index, together = opened.image, opened.index, len(opened.outputs)
        image.advance()
        self._writer.keep_pace()
        self._turns.charge(job.job.job_id, together * job.step_cost(reused=image.step_reused))
        for other in self._jobs.values():
            for ending in other.endings:
                ending.overlapped = True
        self._tell(job, Progress(job.job.job_id, index, image.step, image.steps, image.step_reused, together))
        # After the last step the image itself follows.
        if job.watched and not image.ready and (now := time.monotonic()) >= job.next_preview:
            job.next_preview = now + PREVIEW_SECONDS
            self._show(job, opened)

    def _show(self, job: OpenJob, opened: Opened) -> None:
        """Send a preview of the last step."""
        if (draw := opened.image.preview()) is None:
            return
        done = partial(self._end_preview, job, opened, opened.image.step)
        if self._overlaps and self._writer.encodes_beside():
            self._encode(self._beside(job, draw), done)
        else:
            run_now(draw, done)

    def _end_preview(self, job: OpenJob, opened: Opened, step: int, done: Future[bytes]) -> None:
        if job.current is opened:  # else the image itself is on its way
            with self._failures_of(job):
                self._tell(job, Preview(job.job.job_id, opened.index, step, done.result()))

    def _end_steps(self, job: OpenJob, opened: Opened) -> None:
        """Decode and write an image, beside the steps of others as far as possible."""
        image = opened.image
        stepping = next((other.job for other in self._jobs.values() if other is not job and other.steps_wait), None)
        run, write = self._write if self._overlaps else run_now, self._named(job, image.write)
        if self._overlaps and self._writer.decodes_beside(job.job, stepping):
            write = self._beside(job, partial(_decode_and_write, image))
        else:
            image.decode(partial(self._after_face_step, job, opened))
        run(write, partial(self._end_writing, job, job.end_steps()))

    def _after_face_step(self, job: OpenJob, opened: Opened) -> None:
        self._take_messages(wait=False)
        if job.current is not opened:
            raise _JobEnded
        steps = opened.image.steps
        self._tell(job, Progress(job.job.job_id, opened.index, steps, steps, opened.image.step_reused))

    def _end_writing(self, job: OpenJob, opened: Opened, done: Future[Sequence[ImageWritten]]) -> None:
        if opened in job.endings:
            with structlog.contextvars.bound_contextvars(task=job.job.task_uuid), self._failures_of(job, opened):
                images = done.result()
                job.endings.remove(opened)
                self._writer.note_written()
                for written in images:
                    self._send(replace(written, overlapped=opened.overlapped))
                self._send_next(job)
                return
        # Nobody hears of these files. A job that begins again has not opened its images yet.
        for output in opened.outputs:
            output.path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _failures_of(self, job: OpenJob, ending: Opened | None = None) -> Iterator[None]:
        """Let an error inside the `with` end the job, and no other one."""
        try:
            yield
        except (Stopped, EOFError, BrokenPipeError, ConnectionResetError):
            raise
        except _JobEnded:
            pass
        except Exception as error:  # noqa: BLE001  `_fail` logs it
            self._fail(job, ending, error)
            traceback.clear_frames(error.__traceback__)  # they hold the tensors of the render

    def _fail(self, job: OpenJob, ending: Opened | None, error: Exception) -> None:
        ran_out = ran_out_of_memory(error)
        images = sum(len(opened.outputs) for other in self._jobs.values() for opened in other.under_way)
        if ran_out and not job.alone and images > 1 and job.outcome is None:
            log.warning("the device ran out of memory for several images, so this task begins again alone")
            job.begin_again()
            return
        self._ran_out |= ran_out
        if ending is not None:
            job.endings.clear()
        job.stop(Failed(job.job.job_id, failure_of(error, job.job.request)))
        self._send_next(job)

    def _tell(self, job: OpenJob, reply: Progress | Preview) -> None:
        if job.passes(reply):
            self._send(reply)

    def _send_next(self, job: OpenJob) -> None:
        """Send what was held, and the end of the job if it is due."""
        for reply in job.next_replies():
            self._send(reply)
            if isinstance(reply, Outcome):
                del self._jobs[job.job.job_id]
                self._turns.remove(job.job.job_id)

    def _beside(self, job: OpenJob, work: Callable[[], T]) -> Callable[[], T]:
        """The work of a job on a stream of its thread."""

        def run() -> T:
            with self._writer.beside():
                return work()

        return self._named(job, run)

    def _named(self, job: OpenJob, work: Callable[[], T]) -> Callable[[], T]:
        """The work of a job, whose lines in the log name its task."""

        def run() -> T:
            with structlog.contextvars.bound_contextvars(task=job.job.task_uuid):
                return work()

        return run


def _decode_and_write(image: Image) -> Sequence[ImageWritten]:
    image.decode(lambda: None)
    return image.write()
