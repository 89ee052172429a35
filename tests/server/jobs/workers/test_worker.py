"""The loop of a worker process, with a fake in place of the models and a script in place of the API process."""

import errno
import gc
import os
import signal
import weakref
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import structlog

from pipelines.catalog.catalog import Catalog, load_catalog
from pipelines.errors import ControlError, LoadError, LoraError, PromptError, RenderError, ResultError, SizeError
from pipelines.models.residency.options import DEFAULT_OPTIONS
from server.errors import Failure
from server.jobs.workers import worker
from server.jobs.workers.image_writer import AfterStep, BeforeLoad
from server.jobs.workers.messages import (
    Cancel,
    Cancelled,
    Failed,
    Finished,
    ImageWritten,
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
from server.media.encode import Encoding
from tests.fakes import FakeWriter
from tests.server.jobs.common import REQUEST

LATER = object()  # what follows in a script has not arrived before the loop waits for it


class ScriptedConnection:
    """A connection on which these messages arrive, and which the other side then closes."""

    def __init__(self, *script: Any) -> None:
        self._script = deque(script)
        self.sent: list[Any] = []

    def poll(self) -> bool:
        return bool(self._script) and self._script[0] is not LATER

    def recv(self) -> Any:
        while self._script:
            if (message := self._script.popleft()) is not LATER:
                return message
        raise EOFError

    def send(self, message: Any) -> None:
        self.sent.append(message)


def serve(*script: Any, writer: FakeWriter | None = None) -> list[Any]:
    """What a worker answers to a script."""
    connection: Any = ScriptedConnection(*script)
    worker.serve(connection, "cpu", lambda: writer or FakeWriter())
    ready, *replies = connection.sent
    assert isinstance(ready, Ready)
    assert ready.device == "fake device"
    return replies


def kinds(replies: list[Any]) -> list[type]:
    return [type(reply) for reply in replies]


@pytest.fixture
def job(tmp_path: Path) -> RenderJob:
    outputs = tuple(Output(index, tmp_path / f"{index}.png") for index in range(2))
    return RenderJob(1, replace(REQUEST, seed=7, steps=2), Encoding("PNG", 95), outputs)


def test_garbage_is_kept_while_the_models_load_and_no_longer() -> None:
    collecting: list[bool] = []

    def load() -> FakeWriter:
        collecting.append(gc.isenabled())
        return FakeWriter()

    worker.serve(cast("Any", ScriptedConnection()), "cpu", load)
    assert collecting == [False]
    assert gc.isenabled()


def test_a_job(job: RenderJob) -> None:
    replies = serve(job)
    image = [Progress, Progress, ImageWritten]
    assert kinds(replies) == [*image, *image, Finished]
    assert replies[:2] == [Progress(1, 0, 1, 2), Progress(1, 0, 2, 2)]
    assert all(output.path.is_file() for output in job.outputs)


def test_previews_are_sent_while_the_job_is_watched_and_not_of_the_next(job: RenderJob) -> None:
    replies = serve(job, Watch(1, True), LATER, replace(job, job_id=2), LATER, Stop())
    shown = [reply for reply in replies if isinstance(reply, Preview)]
    assert shown == [Preview(1, 0, 1, b"jpeg")]  # the next steps follow within a quarter of a second


@pytest.mark.parametrize("messages", [(Watch(9, True),), (Watch(1, True), Watch(1, False)), ()])
def test_no_preview_is_made_unless_the_job_is_watched(job: RenderJob, messages: tuple[Any, ...]) -> None:
    writer = FakeWriter()
    assert Preview not in kinds(serve(job, *messages, writer=writer))
    assert writer.previews == 0


def test_previews_come_at_most_four_times_a_second(job: RenderJob, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(0.1 * tick for tick in range(1000))  # the clock is read once a step
    monkeypatch.setattr(worker.time, "monotonic", lambda: next(now))
    many = replace(job, request=replace(job.request, steps=40))
    shown = [reply.step for reply in serve(many, Watch(1, True)) if isinstance(reply, Preview) and reply.index == 0]
    assert shown[:3] == [1, 4, 7]
    assert 40 not in shown  # the image itself follows


def test_the_log_names_the_task_of_a_job(job: RenderJob) -> None:
    seen: list[dict[str, Any]] = []

    class Logging(FakeWriter):
        def write(self, job: RenderJob, output: Output, after_step: AfterStep, before_load: BeforeLoad) -> ImageWritten:
            seen.append(structlog.contextvars.get_contextvars())
            return super().write(job, output, after_step, before_load)

    serve(replace(job, task_uuid="a"), writer=Logging())
    assert seen == [{"task": "a"}] * 2
    assert structlog.contextvars.get_contextvars() == {}


@pytest.mark.parametrize("message", [Stop(), LATER])
def test_it_ends_when_told_to_or_when_the_connection_closes(message: Any) -> None:
    assert serve(message) == []


def test_a_cancel_stops_the_job_and_not_the_next(job: RenderJob) -> None:
    replies = serve(job, Cancel(1), LATER, replace(job, job_id=2), LATER, Stop())
    assert replies[0] == Cancelled(1)
    assert replies[-1] == Finished(2)


@pytest.mark.parametrize("late", [(Cancel(9),), (LATER, Cancel(1))])
def test_a_cancel_of_another_job_stops_none(job: RenderJob, late: tuple[Any, ...]) -> None:
    assert serve(job, *late)[-1] == Finished(1)


def test_a_stop_ends_the_process_in_the_middle_of_a_job(job: RenderJob) -> None:
    assert serve(job, Stop(), replace(job, job_id=2)) == []


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (LoraError("why", "loras[1]"), Failure("invalidModel", "why", 400, "loras[1]")),
        (ControlError("why", "controls[0]"), Failure("invalidModel", "why", 400, "controls[0]")),
        (LoadError("why"), Failure("modelNotReady", "why", 503)),
        (PromptError("why", "prompt"), Failure("inferenceError", "why", 500, "prompt")),
        (ResultError("why"), Failure("inferenceError", "why", 500)),
        (SizeError("why", "width"), Failure("valueTooLarge", "why", 413, "width")),
    ],
)
def test_what_cannot_be_rendered_says_why(job: RenderJob, error: RenderError, failure: Failure) -> None:
    assert serve(job, writer=FakeWriter(error)) == [Failed(1, failure)]


class OutOfMemoryError(RuntimeError):
    """Called as torch's own."""


@pytest.mark.parametrize(
    ("error", "words", "freed"),
    [
        (OutOfMemoryError("CUDA out of memory"), "ran out of memory at 128×256", 2),
        (MemoryError("cannot pin"), "ran out of memory at 128×256", 2),
        (ZeroDivisionError("a secret of ours"), "The server's log has the details.", 0),
    ],
)
def test_an_unforeseen_error_fails_the_job_only(job: RenderJob, error: Exception, words: str, freed: int) -> None:
    writer = FakeWriter(error)
    first, second = serve(job, LATER, replace(job, job_id=2), writer=writer)
    assert (first.failure.code, first.failure.status) == ("inferenceError", 500)
    assert words in first.failure.message
    assert "secret" not in first.failure.message
    assert second.job_id == 2
    assert writer.freed == freed


def test_a_full_disk_is_told_as_that(job: RenderJob) -> None:
    writer = FakeWriter(OSError(errno.ENOSPC, "No space left on device"))
    (failed,) = serve(job, writer=writer)
    assert (failed.failure.code, failed.failure.status) == ("insufficientStorage", 507)


def test_after_an_error_nothing_of_the_render_is_held(job: RenderJob) -> None:
    tensors: list[weakref.ref[set[int]]] = []

    class Greedy(FakeWriter):
        def write(self, job: RenderJob, output: Output, after_step: AfterStep, before_load: BeforeLoad) -> ImageWritten:
            tensor = {1}
            tensors.append(weakref.ref(tensor))
            raise OutOfMemoryError("CUDA out of memory")

        def free_memory(self) -> None:
            gc.collect()  # as the real one does
            assert tensors[0]() is None
            super().free_memory()

    writer = Greedy()
    assert kinds(serve(job, writer=writer)) == [Failed]
    assert writer.freed == 1


@pytest.mark.parametrize("error", [LoadError("why"), RuntimeError("why")])
def test_a_worker_that_cannot_start_says_why(error: Exception) -> None:
    def load() -> FakeWriter:
        raise error

    connection: Any = ScriptedConnection()
    worker.serve(connection, "graphics", load)
    assert connection.sent == [StartFailed("device graphics: why")]


@pytest.mark.parametrize(("device", "niceness"), [("cpu", [worker.NICENESS_ON_CPU]), ("cuda:0", [])])
@pytest.mark.parametrize("embedded", [True, False])
def test_the_process_yields_to_the_server_and_leaves_interrupts_to_it(
    monkeypatch: pytest.MonkeyPatch, device: str, niceness: list[int], embedded: bool
) -> None:
    loaded: list[Any] = []
    nice: list[int] = []
    handlers: dict[int, Any] = {}

    def load(*arguments: Any) -> FakeWriter:
        loaded.append(arguments)
        return FakeWriter()

    monkeypatch.setattr(worker, "ImageWriter", load)
    monkeypatch.setattr(worker, "configure_logs", lambda level: None)
    monkeypatch.setattr(os, "nice", nice.append)
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS", raising=False)
    catalog: Catalog = load_catalog().with_embedded_weights() if embedded else load_catalog()
    connection: Any = ScriptedConnection(Stop())
    worker.main(connection, device, catalog, DEFAULT_OPTIONS, LogOptions("info"))
    assert kinds(connection.sent) == [Ready]
    assert loaded == [(device, catalog, DEFAULT_OPTIONS)]
    assert nice == niceness
    assert handlers == {signal.SIGINT: signal.SIG_IGN, signal.SIGTERM: worker._end_later}
    assert os.environ.pop("HF_HUB_DISABLE_PROGRESS_BARS", None) == ("1" if embedded else None)


def test_a_sigterm_ends_the_process_only_when_the_server_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    alarms: list[int] = []
    monkeypatch.setattr(signal, "alarm", alarms.append)
    worker._end_later(signal.SIGTERM, None)
    assert alarms == [worker.TERMINATION_SECONDS]
