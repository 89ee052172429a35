"""A worker process: takes jobs from a connection, renders them, and sends back the replies.

A stop or a closed connection ends it. Imports no torch: `ImageWriter` does that, in the process that `main` runs in.
"""

import contextlib
import functools
import gc
import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import structlog

from pipelines.catalog.catalog import Catalog
from pipelines.errors import RenderError
from pipelines.models.residency.options import ModelOptions
from server.jobs.workers.images.image_writer import ImageWriter
from server.jobs.workers.inbox import ConnectionInbox
from server.jobs.workers.messages import Ready, StartFailed
from server.jobs.workers.render_loop import RenderLoop, Stopped
from server.jobs.workers.writer import Writer
from server.options.log_options import LogOptions
from server.options.sharing import ALONE, Sharing
from server.process.log_stream import protect_standard_streams
from server.process.logs import configure_logs

log = structlog.get_logger()

# The API process must answer at once while the CPU renders, so the worker yields to it.
NICENESS_ON_CPU = 5
# The API process stops within its own seconds for answers under way, and gives the worker more for its step.
TERMINATION_SECONDS = 15


def main(
    connection: Connection,
    device: str,
    catalog: Catalog,
    options: ModelOptions,
    logs: LogOptions,
    sharing: Sharing,
) -> None:
    """Load the first model of the catalogue, then serve jobs until the connection closes."""
    # Ctrl-C and a SIGTERM to the group reach both processes. The API process decides, and ends this one in time.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end_later)
    protect_standard_streams()  # the libraries print while they load
    configure_logs(logs)
    if device == "cpu" and hasattr(os, "nice"):
        os.nice(NICENESS_ON_CPU)
    serve(connection, device, functools.partial(_load, device, catalog, options, sharing), sharing)


def _load(device: str, catalog: Catalog, options: ModelOptions, sharing: Sharing) -> ImageWriter:
    if all(entry.embedded for entry in catalog.entries):  # loading takes a moment: bars are for the real weights
        from pipelines.models.loading.progress_bars import hide_progress_bars

        hide_progress_bars()
    return ImageWriter(device, catalog, options, sharing.batching)


def _end_later(*_: object) -> None:
    """End by SIGALRM, if the API process has not ended this one by then."""
    signal.alarm(TERMINATION_SECONDS)


def serve(connection: Connection, device: str, load: Callable[[], Writer], sharing: Sharing = ALONE) -> None:
    """Load the models, report it, and render until a stop arrives or the connection closes."""
    started = time.monotonic()
    try:
        try:
            with _garbage_kept():
                writer = load()
        except (RenderError, RuntimeError) as error:  # torch raises the latter for a device that does not exist
            connection.send(StartFailed(f"device {device}: {error}"))
            return
        connection.send(Ready(writer.description, time.monotonic() - started, writer.engaged, writer.gains))
        if sharing.overlap:
            log.info("what is before and after the steps overlaps them", device=device, decoding=writer.on_gpu)
        with contextlib.closing(writer):
            RenderLoop(ConnectionInbox(connection), connection.send, writer, sharing).run()
    except (Stopped, EOFError, BrokenPipeError, ConnectionResetError):
        log.debug("worker ends", device=device)


@contextlib.contextmanager
def _garbage_kept() -> Iterator[None]:
    """Import and load without garbage collection: nearly every object stays, and scanning them takes a second."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
