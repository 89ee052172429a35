"""The loop of a worker process: takes jobs from a connection, renders them, and sends back the replies.

Between two steps it reads the connection: a cancel stops the job, a stop or a closed connection ends the process.
Imports no torch: `ImageWriter` does that, in the process that `main` runs in.
"""

import functools
import gc
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Protocol

import structlog

from pipelines.catalog.catalog import Catalog
from pipelines.errors import Fault, RenderError
from pipelines.models.engaged import Engaged
from pipelines.models.residency.options import ModelOptions
from pipelines.request import RenderRequest
from server.errors import Failure, InsufficientStorage
from server.jobs.workers.image_writer import AfterStep, BeforeLoad, ImageWriter
from server.jobs.workers.messages import (
    Cancel,
    Cancelled,
    Failed,
    Finished,
    ImageWritten,
    Loading,
    Outcome,
    Output,
    Preview,
    Progress,
    Ready,
    RenderJob,
    StartFailed,
    Stop,
    Watch,
)
from server.log_options import LogOptions
from server.process.log_stream import protect_standard_streams
from server.process.logs import configure_logs
from server.storage import MESSAGE, is_storage_error

log = structlog.get_logger()

# The API process must answer at once while the CPU renders, so the worker yields to it.
NICENESS_ON_CPU = 5
# The API process stops within its own seconds for answers under way, and gives the worker more for its step.
TERMINATION_SECONDS = 15

# Between two previews: more often than four times a second tells a person nothing.
PREVIEW_SECONDS = 0.25

# By what is at fault: the code and the HTTP status. Missing weights may be in place later; a wrong adapter never fits.
_FAILURES: dict[Fault, tuple[str, int]] = {
    "weights": ("modelNotReady", 503),
    "adapter": ("invalidModel", 400),
    "input": ("inferenceError", 500),
    "size": ("valueTooLarge", 413),
    "result": ("inferenceError", 500),
    "content": ("nsfwContentDetected", 400),
}


class _Cancelled(Exception):
    """The job under way is to be stopped."""


class _Stopped(Exception):
    """The process is to end."""


class Writer(Protocol):
    """Renders images into files. `ImageWriter` is the real one; its `description` is the device in words.

    `engaged` is what its model runs with.
    """

    description: str
    engaged: Engaged | None

    @property
    def step_reused(self) -> bool:
        """Whether the step cache reused the last step of the image under way."""
        ...

    def preview(self) -> bytes | None:
        """The image under way as a small JPEG file. None before its first step."""
        ...

    def write(self, job: RenderJob, output: Output, after_step: AfterStep, before_load: BeforeLoad) -> ImageWritten:
        """Render one image. Call `before_load` before other weights are loaded."""
        ...

    def free_memory(self) -> None:
        """Free all that the next image does not need, because the device ran out of memory."""
        ...


def main(connection: Connection, device: str, catalog: Catalog, options: ModelOptions, logs: LogOptions) -> None:
    """Load the first model of the catalogue, then serve jobs until the connection closes."""
    # Ctrl-C and a SIGTERM to the group reach both processes. The API process decides, and ends this one in time.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_later)
    protect_standard_streams()  # the libraries print while they load
    configure_logs(logs)
    if device == "cpu" and hasattr(os, "nice"):
        os.nice(NICENESS_ON_CPU)
    if all(entry.embedded for entry in catalog.entries):
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # loading takes a moment: bars are for the real weights
    serve(connection, device, functools.partial(ImageWriter, device, catalog, options))


def _end_later(*_: object) -> None:
    """End by SIGALRM, if the API process has not ended this one by then."""
    signal.alarm(TERMINATION_SECONDS)


def serve(connection: Connection, device: str, load: Callable[[], Writer]) -> None:
    """Load the models, report it, and render until a stop arrives or the connection closes."""
    started = time.monotonic()
    try:
        try:
            with _garbage_kept():
                writer = load()
        except (RenderError, RuntimeError) as error:  # torch raises the latter for a device that does not exist
            connection.send(StartFailed(f"device {device}: {error}"))
            return
        connection.send(Ready(writer.description, time.monotonic() - started, writer.engaged))
        RenderLoop(connection, writer).run()
    except (_Stopped, EOFError, BrokenPipeError, ConnectionResetError):
        log.debug("worker ends", device=device)


@contextmanager
def _garbage_kept() -> Iterator[None]:
    """Import and load without garbage collection: nearly every object stays, and scanning them takes a second."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class RenderLoop:
    """Renders one job after the other."""

    def __init__(self, connection: Connection, writer: Writer) -> None:
        self._connection = connection
        self._writer = writer
        self._watched = False
        self._next_preview = 0.0

    def run(self) -> None:
        """Render until a stop arrives or the server has gone. Raises `_Stopped` or `EOFError` then."""
        while True:
            message = self._connection.recv()
            if isinstance(message, Stop):
                raise _Stopped
            if isinstance(message, RenderJob):
                self._render(message)

    def _render(self, job: RenderJob) -> None:
        self._watched = False
        with structlog.contextvars.bound_contextvars(task=job.task_uuid):
            outcome, ran_out = self._outcome(job)
            if ran_out:
                self._writer.free_memory()
        self._connection.send(outcome)

    def _outcome(self, job: RenderJob) -> tuple[Outcome, bool]:
        """How a job ended, and whether the device ran out of memory."""
        try:
            for output in job.outputs:
                self._check_cancel(job)
                after_step = functools.partial(self._after_step, job, output)
                before_load = functools.partial(self._connection.send, Loading(job.job_id))
                self._connection.send(self._writer.write(job, output, after_step, before_load))
        except _Cancelled:
            return Cancelled(job.job_id), False
        except (_Stopped, EOFError, BrokenPipeError, ConnectionResetError):
            raise
        except RenderError as error:
            log.info("render refused", reason=str(error), path=error.path)
            code, status = _FAILURES[error.fault]
            return Failed(job.job_id, Failure(code, str(error), status, error.path)), False
        except Exception as error:
            log.exception("render failed")
            failure = _failure(error, job.request)
            traceback.clear_frames(error.__traceback__)  # they hold the tensors of the render
            return Failed(job.job_id, failure), _ran_out(error)
        return Finished(job.job_id), False

    def _after_step(self, job: RenderJob, output: Output, step: int, steps: int) -> None:
        self._check_cancel(job)
        if not step:
            return
        self._connection.send(Progress(job.job_id, output.index, step, steps, self._writer.step_reused))
        # After the last step the image itself follows.
        if self._watched and step < steps and (now := time.monotonic()) >= self._next_preview:
            self._next_preview = now + PREVIEW_SECONDS
            if (jpeg := self._writer.preview()) is not None:
                self._connection.send(Preview(job.job_id, output.index, step, jpeg))

    def _check_cancel(self, job: RenderJob) -> None:
        """Read what has arrived. Raises `_Cancelled`, `_Stopped`, or `EOFError` when the server has gone."""
        while self._connection.poll():
            message = self._connection.recv()
            if isinstance(message, Stop):
                raise _Stopped
            if isinstance(message, Cancel) and message.job_id == job.job_id:
                raise _Cancelled
            if isinstance(message, Watch) and message.job_id == job.job_id:
                self._watched = message.watched


def _ran_out(error: Exception) -> bool:
    """Whether an error is torch's about the memory of a device, or Python's about that of the host."""
    return type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError)


def _failure(error: Exception, request: RenderRequest) -> Failure:
    """What the client is told about an unforeseen error."""
    if is_storage_error(error):
        return Failure(InsufficientStorage.default_code, MESSAGE, InsufficientStorage.status)
    return Failure("inferenceError", _describe(error, request), 500)


def _describe(error: Exception, request: RenderRequest) -> str:
    """The message for the client about an unforeseen error."""
    if _ran_out(error):
        size = f"{request.width}×{request.height}"
        return f"The device ran out of memory at {size}. Try a smaller size or fewer reference images."
    return "The worker failed on this task. The server's log has the details."
