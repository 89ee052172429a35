"""Inside the worker process: takes jobs from a connection and draws them, one denoising step at a time.

The only module of the server that imports torch, and only in the process that `main` runs in. Between two steps it
looks at the connection: a cancel stops the job, a stop or a closed connection ends the process.
"""

import hashlib
import os
import signal
import time
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

import structlog

from pipelines.catalog.catalog import Catalog
from pipelines.errors import Fault, RenderError
from pipelines.request import RenderRequest
from server.errors import Failure
from server.jobs.messages import (
    Cancel,
    Cancelled,
    Failed,
    Finished,
    ImageWritten,
    Output,
    Progress,
    Ready,
    RenderJob,
    StartFailed,
    Stop,
)
from server.logs import configure_logs
from server.media.encode import encode
from server.media.files import write_file
from server.media.metadata import fits

if TYPE_CHECKING:
    from pipelines.models.loader import ModelCache

log = structlog.get_logger()

# The API process must answer at once while the CPU renders, so the worker yields to it.
NICENESS_ON_CPU = 5

# By what is at fault: the code and the HTTP status. Missing weights may be in place later; a wrong adapter never fits.
_FAILURES: dict[Fault, tuple[str, int]] = {
    "weights": ("modelNotReady", 503),
    "adapter": ("invalidModel", 400),
    "input": ("inferenceError", 500),
}


class _Cancelled(Exception):
    """The job under way is to be stopped."""


class _Stopped(Exception):
    """The process is to end."""


def main(connection: Connection, device: str, catalog: Catalog, log_level: str) -> None:
    """Load the first model of the catalogue, then serve jobs until the connection closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the API process decides
    configure_logs(log_level)
    if device == "cpu" and hasattr(os, "nice"):
        os.nice(NICENESS_ON_CPU)
    if all(entry.embedded for entry in catalog.entries):
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # loading takes a moment: bars are for the real weights
    try:
        RenderLoop(connection, device, catalog).run()
    except (_Stopped, EOFError, BrokenPipeError, ConnectionResetError):
        log.debug("worker ends", device=device)


class RenderLoop:
    """The loop of one worker process."""

    def __init__(self, connection: Connection, device: str, catalog: Catalog) -> None:
        self._connection = connection
        self._device = device
        self._catalog = catalog

    def run(self) -> None:
        """Announce readiness, then draw until told to stop, which raises."""
        from pipelines.models.loader import ModelCache, device_name

        started = time.monotonic()
        try:
            checkpoints = ModelCache(self._device)
            checkpoints.get(self._catalog.entries[0])
        except (RenderError, RuntimeError) as error:  # torch raises the latter on a device that there is not
            self._connection.send(StartFailed(f"device {self._device}: {error}"))
            return
        self._connection.send(Ready(device_name(self._device), time.monotonic() - started))
        while True:
            message = self._connection.recv()
            if isinstance(message, Stop):
                raise _Stopped
            if isinstance(message, RenderJob):
                self._serve(message, checkpoints)

    def _serve(self, job: RenderJob, checkpoints: "ModelCache") -> None:
        try:
            for output in job.outputs:
                self._connection.send(self._draw(job, output, checkpoints))
        except _Cancelled:
            self._connection.send(Cancelled(job.job_id))
        except (_Stopped, EOFError, BrokenPipeError, ConnectionResetError):
            raise
        except RenderError as error:
            log.info("render refused", job=job.job_id, reason=str(error), path=error.path)
            code, status = _FAILURES[error.fault]
            self._connection.send(Failed(job.job_id, Failure(code, str(error), status, error.path)))
        except Exception as error:
            log.exception("render failed", job=job.job_id)
            self._connection.send(Failed(job.job_id, Failure("inferenceError", _describe(error, job.request), 500)))
        else:
            self._connection.send(Finished(job.job_id))

    def _draw(self, job: RenderJob, output: Output, checkpoints: "ModelCache") -> ImageWritten:
        from pipelines.generate import generate
        from pipelines.models.loader import device_name
        from pipelines.receipt import make_receipt

        started = time.monotonic()
        self._check_cancel(job)
        entry = self._catalog.find(job.request.model)
        if entry is None:
            raise LookupError(f"{job.request.model} is no longer in the catalogue")
        checkpoint = checkpoints.get(entry)

        def after_step(step: int, total: int) -> None:
            self._check_cancel(job)
            if step:
                self._connection.send(Progress(job.job_id, output.index, step, total))

        generated = generate(job.request, output.index, checkpoint, entry, after_step)
        image, seed, warnings = generated.image, generated.seed, generated.warnings
        encoding = (job.encoding.format, job.encoding.quality)
        kind = str(checkpoint.dtype).removeprefix("torch.")
        device = device_name(self._device)
        receipt = make_receipt(job.request, seed, encoding, entry, device, kind, generated.cache).to_json()
        carried = fits(receipt, job.encoding.format)
        if not carried:
            warnings += ("The prompts are too long for a JPG to carry the receipt; /v1/receipts has it.",)
        data = encode(image, job.encoding, receipt if carried else None)
        write_file(output.path, data)
        return ImageWritten(
            job_id=job.job_id,
            index=output.index,
            width=image.width,
            height=image.height,
            sha256=hashlib.sha256(data).hexdigest(),
            seed=seed,
            seconds=time.monotonic() - started,
            receipt=receipt,
            warnings=warnings,
            cache=generated.cache,
        )

    def _check_cancel(self, job: RenderJob) -> None:
        """Read what has arrived meanwhile. Raises `_Cancelled`, `_Stopped`, or `EOFError` when the server has gone."""
        while self._connection.poll():
            message = self._connection.recv()
            if isinstance(message, Stop):
                raise _Stopped
            if isinstance(message, Cancel) and message.job_id == job.job_id:
                raise _Cancelled


def _describe(error: Exception, request: RenderRequest) -> str:
    if type(error).__name__ == "OutOfMemoryError":
        size = f"{request.width}×{request.height}"
        return f"The device ran out of memory at {size}. Try a smaller size or fewer reference images."
    return "The renderer failed on this task. The server's log has the details."
