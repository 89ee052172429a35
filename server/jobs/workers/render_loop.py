"""The loop of a worker: images are advanced step by step, and what comes before and after runs beside the steps.

Between two steps it takes what has arrived: jobs, cancels, and the ends of work in the background. Knows no model: its
writer does. Imports no torch.
"""

import contextlib
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TypeVar

import structlog

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
    Ping,
    Pong,
    Preview,
    Progress,
    RenderJob,
    Reply,
    Stop,
    Watch,
)
from server.jobs.workers.open_job import Opened, OpenJob
from server.jobs.workers.open_jobs import OpenJobs
from server.jobs.workers.writer import Writer
from server.options.sharing import Sharing

log = structlog.get_logger()

T = TypeVar("T")

# Between two previews: more often than four times a second tells a person nothing.
PREVIEW_SECONDS = 0.25


class Stopped(Exception):
    """The process is to end."""


class _JobEnded(Exception):
    """The job of the image under way was stopped."""


class RenderLoop:
    """Renders the jobs of one worker."""

    def __init__(self, inbox: Inbox, send: Callable[[Reply], None], writer: Writer, sharing: Sharing) -> None:
        """`send` passes a reply to the API process."""
        self._inbox, self._send, self._writer = inbox, send, writer
        self._overlaps = sharing.overlap
        backgrounds = Background("encoding", inbox), Background("writing", inbox)
        self._encode, self._write = (background.submit for background in backgrounds)
        self._jobs = OpenJobs(writer, sharing.renders, lambda: any(each.pending for each in backgrounds))
        self._ran_out = False

    def run(self) -> None:
        """Render until a stop arrives or the server has gone. Raises `Stopped` or `EOFError` then."""
        while True:
            self._take_messages(wait=self._jobs.next() is None)
            self._jobs.make_room()
            self._open_beside()
            if (job := self._jobs.next()) is not None:
                self._take_turn(job)
            if self._ran_out:  # now, because nothing refers to the image that failed
                self._ran_out = False
                self._writer.free_memory()

    def _take_messages(self, *, wait: bool) -> None:
        """Take all that has arrived. Wait for the first message if there is nothing else to do."""
        while (message := self._inbox.take(wait=wait)) is not None:
            wait = False
            if isinstance(message, Stop):
                raise Stopped
            if isinstance(message, RenderJob):
                self._jobs.add(message)
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
        """Open the next image of a job, or advance its image by one step, with those of its batch."""
        if job.current is None:
            with self._failures_of(job):
                self._open(job)
                self._end_if_ready(job)
            return
        members = [(each, each.current) for each in self._evaluated(self._jobs.batch(job)) if each.current is not None]
        stepped = []
        for each, opened in members:
            with self._failures_of(each):
                if not opened.image.ready:  # one without steps may have been prepared in the background
                    opened.image.advance()
                    stepped.append((each, opened))
        if stepped:
            self._writer.keep_pace()
        for each, opened in stepped:
            with self._failures_of(each):
                self._note_step(each, opened)
        for each, opened in members:
            if each.current is opened:  # else it has failed or was stopped
                with self._failures_of(each):
                    self._end_if_ready(each)

    def _end_if_ready(self, job: OpenJob) -> None:
        """Write an image after its last step."""
        if job.current is not None and job.may_advance and job.current.image.ready:
            self._end_steps(job, job.current)

    def _evaluated(self, members: list[OpenJob]) -> list[OpenJob]:
        """Evaluate the next step of a batch. Returns the jobs that are to be advanced: one of them if that fails."""
        images = [job.current.image for job in members if job.current is not None and not job.current.image.ready]
        if images and self._writer.compiles(images):
            for job in members:  # the worker is not heard of for a while
                self._send(Loading(job.job.job_id))
        if len(members) == 1:
            return members
        try:
            self._writer.evaluate(images)
        except Exception as error:  # noqa: BLE001  whichever is to blame fails in a step of its own
            self._jobs.batches.give_up(members, ran_out=ran_out_of_memory(error))
            tasks = [job.job.task_uuid for job in members]
            log.warning("a batch of several tasks failed, and is split", tasks=tasks, reason=str(error))
            traceback.clear_frames(error.__traceback__)  # they hold the tensors of the batch
            return members[:1]
        return members

    def _open_beside(self) -> None:
        """Have the prompt of the next job encoded while another one has its steps."""
        stepping = any(job.current is not None for job in self._jobs)
        if not (stepping and self._overlaps and self._writer.encodes_beside()):
            return
        for job in self._jobs:
            if self._jobs.may_open(job):  # beside those that were opened just now
                with self._failures_of(job):
                    self._open(job)

    def _open(self, job: OpenJob) -> None:
        most = 1 if job.alone else self._writer.images_together(job.job)
        outputs = tuple(islice(job.outputs, most))
        shared = any(other.under_way for other in self._jobs)
        stepping = any(other.current is not None for other in self._jobs)
        image = self._writer.open(job.job, outputs, partial(self._send, Loading(job.job.job_id)))
        for _ in outputs:
            job.outputs.popleft()
        job.current, job.begun = Opened(outputs, image), True
        opened = job.current
        if shared:
            for other in self._jobs:
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

    def _note_step(self, job: OpenJob, opened: Opened) -> None:
        image, index, together = opened.image, opened.index, len(opened.outputs)
        self._jobs.charge(job, together * job.step_cost(reused=image.step_reused))
        for other in self._jobs:
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
        stepping = next((other.job for other in self._jobs if other is not job and other.steps_wait), None)
        run, write = self._write if self._overlaps else run_now, self._named(job, image.write)
        if self._overlaps and self._writer.decodes_beside(job.job, stepping):
            write = self._beside(job, opened.decode_and_write)
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
            with self._failures_of(job, opened):
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
        """Let an error inside the `with` end the job, and no other one. Lines in the log name its task."""
        try:
            with structlog.contextvars.bound_contextvars(task=job.job.task_uuid):
                yield
        except (Stopped, EOFError, BrokenPipeError, ConnectionResetError):
            raise
        except _JobEnded:
            pass
        except Exception as error:  # noqa: BLE001  `_fail` logs it
            with structlog.contextvars.bound_contextvars(task=job.job.task_uuid):
                self._fail(job, ending, error)
            traceback.clear_frames(error.__traceback__)  # they hold the tensors of the render

    def _fail(self, job: OpenJob, ending: Opened | None, error: Exception) -> None:
        ran_out = ran_out_of_memory(error)
        images = sum(len(opened.outputs) for other in self._jobs for opened in other.under_way)
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
                self._jobs.remove(job)

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
