"""The start and the end of a worker process, with a fake in place of the models."""

import gc
import multiprocessing
import os
import signal
from typing import TYPE_CHECKING, Any, cast

import pytest

from pipelines.catalog.models_file import load_catalog
from pipelines.errors import LoadError
from pipelines.models.residency.options import DEFAULT_OPTIONS
from server.jobs.workers.messages import Ready, StartFailed, Stop
from server.jobs.workers.process import worker
from server.options.log_options import LogOptions
from server.options.sharing import ALONE, Sharing
from tests.fakes import FakeWriter

if TYPE_CHECKING:
    from pipelines.catalog.catalog import Catalog


class ClosedConnection:
    """A connection whose other side has closed, after these messages."""

    def __init__(self, *messages: Any) -> None:
        self._messages = list(messages)
        self.sent: list[Any] = []

    def recv(self) -> Any:
        if not self._messages:
            raise EOFError
        return self._messages.pop(0)

    def send(self, message: Any) -> None:
        self.sent.append(message)


def kinds(replies: list[Any]) -> list[type]:
    return [type(reply) for reply in replies]


def test_garbage_is_kept_while_the_models_load_and_no_longer() -> None:
    collecting: list[bool] = []

    def load() -> FakeWriter:
        collecting.append(gc.isenabled())
        return FakeWriter()

    worker.serve(cast("Any", ClosedConnection()), "cpu", load)
    assert collecting == [False]
    assert gc.isenabled()


@pytest.mark.parametrize("messages", [(Stop(),), ()])
def test_it_ends_when_told_to_or_when_the_connection_closes(messages: tuple[Any, ...]) -> None:
    connection: Any = ClosedConnection(*messages)
    writer = FakeWriter()
    worker.serve(connection, "cpu", lambda: writer)
    assert kinds(connection.sent) == [Ready]
    assert writer.closed
    assert connection.sent[0].device == "fake device"


def test_it_ends_when_nobody_hears_its_replies() -> None:
    ours, theirs = multiprocessing.Pipe()
    ours.close()
    worker.serve(theirs, "cpu", FakeWriter)
    theirs.close()


def test_the_log_says_that_images_overlap(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[dict[str, Any]] = []
    monkeypatch.setattr(worker.log, "info", lambda event, **values: said.append(values))
    for sharing in (Sharing(overlap=True), ALONE):
        worker.serve(cast("Any", ClosedConnection()), "cuda:0", lambda: FakeWriter(on_gpu=True), sharing)
    assert said == [{"device": "cuda:0", "decoding": True}]


@pytest.mark.parametrize("error", [LoadError("why"), RuntimeError("why")])
def test_a_worker_that_cannot_start_says_why(error: Exception) -> None:
    def load() -> FakeWriter:
        raise error

    connection: Any = ClosedConnection()
    worker.serve(connection, "graphics", load)
    assert connection.sent == [StartFailed("device graphics: why")]


@pytest.mark.parametrize(("device", "niceness"), [("cpu", [worker.NICENESS_ON_CPU]), ("cuda:0", [])])
@pytest.mark.parametrize("embedded", [True, False])
def test_the_process_yields_to_the_server_and_leaves_interrupts_to_it(
    monkeypatch: pytest.MonkeyPatch, device: str, niceness: list[int], embedded: bool
) -> None:
    loaded: list[Any] = []
    nice: list[int] = []
    hidden: list[bool] = []
    handlers: dict[int, Any] = {}

    def load(*arguments: Any) -> FakeWriter:
        loaded.append(arguments)
        return FakeWriter()

    monkeypatch.setattr(worker, "ImageWriter", load)
    monkeypatch.setattr(worker, "configure_logs", lambda level: None)
    monkeypatch.setattr(os, "nice", nice.append)
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    monkeypatch.setattr("pipelines.models.loading.progress_bars.hide_progress_bars", lambda: hidden.append(True))
    catalog: Catalog = load_catalog().with_embedded_weights() if embedded else load_catalog()
    connection: Any = ClosedConnection(Stop())
    worker.main(connection, device, catalog, DEFAULT_OPTIONS, LogOptions("info"), ALONE)
    assert kinds(connection.sent) == [Ready]
    assert loaded == [(device, catalog, DEFAULT_OPTIONS, None)]
    assert nice == niceness
    assert handlers == {signal.SIGINT: signal.SIG_IGN, signal.SIGTERM: worker._end_later}
    assert hidden == [True] * embedded


def test_a_sigterm_ends_the_process_only_when_the_server_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    alarms: list[int] = []
    monkeypatch.setattr(signal, "alarm", alarms.append)
    worker._end_later(signal.SIGTERM, None)
    assert alarms == [worker.TERMINATION_SECONDS]
