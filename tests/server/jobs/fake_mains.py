"""What the processes of `test_worker_process` run instead of the real models. Imported by each of them: no torch."""

import os
import signal
import time
from multiprocessing.connection import Connection

from pipelines.catalog.catalog import Catalog
from pipelines.errors import LoadError
from pipelines.models.residency.options import ModelOptions
from server.jobs.workers.messages import Ready
from server.jobs.workers.process.worker import serve
from server.options.log_options import LogOptions
from server.options.sharing import Sharing
from tests.fakes import FakeWriter


def render(
    connection: Connection, device: str, catalog: Catalog, options: ModelOptions, logs: LogOptions, sharing: Sharing
) -> None:
    """Serve as the real worker does."""
    serve(connection, device, FakeWriter, sharing)


def fail_to_start(
    connection: Connection, device: str, catalog: Catalog, options: ModelOptions, logs: LogOptions, sharing: Sharing
) -> None:
    """Report that the weights are missing."""

    def load() -> FakeWriter:
        raise LoadError("no weights")

    serve(connection, device, load)


def end_at_once(
    connection: Connection, device: str, catalog: Catalog, options: ModelOptions, logs: LogOptions, sharing: Sharing
) -> None:
    """End without a word."""


def fail_with_words(
    connection: Connection, device: str, catalog: Catalog, options: ModelOptions, logs: LogOptions, sharing: Sharing
) -> None:
    """Write to standard error, as a library in C does, and end by a signal."""
    os.write(2, b"first line\nCUDA error: out of luck\n")
    os.kill(os.getpid(), signal.SIGABRT)


def load_for_ever(
    connection: Connection, device: str, catalog: Catalog, options: ModelOptions, logs: LogOptions, sharing: Sharing
) -> None:
    """Read no message, because the weights are being loaded."""
    os.write(2, b"loading\n")
    time.sleep(3600)


def ignore_terminate(
    connection: Connection, device: str, catalog: Catalog, options: ModelOptions, logs: LogOptions, sharing: Sharing
) -> None:
    """Never read the connection again, and end for SIGKILL only."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    connection.send(Ready("stubborn device", 0.0))
    while True:
        time.sleep(3600)
