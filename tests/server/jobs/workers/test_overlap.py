"""What comes after the steps of an image runs beside those of the next."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import ResultError
from server.errors import Failure
from server.jobs.workers import open_jobs
from server.jobs.workers.messages import (
    Cancel,
    Cancelled,
    Failed,
    Finished,
    ImageWritten,
    Loading,
    Progress,
    RenderJob,
)
from server.options.sharing import Sharing
from tests.fakes import FakeImage, FakeWriter
from tests.server.jobs.workers.loops import OVERLAP, Loop, OutOfMemoryError, fails, kinds, make_job, serve


@pytest.mark.parametrize("on_gpu", [True, False])
def test_the_next_image_is_advanced_while_one_is_written(job: RenderJob, on_gpu: bool) -> None:
    advanced, writer = threading.Event(), FakeWriter(on_gpu=on_gpu)

    def before(word: str, image: FakeImage) -> None:
        if word == "write" and image.output.index == 0:
            assert advanced.wait(10)
        elif word == "advance" and image.output.index == 1:
            advanced.set()

    writer.before = before
    replies = serve(job, writer=writer, sharing=OVERLAP)
    image = [Progress, Progress, ImageWritten]
    assert kinds(replies) == [*image, *image, Finished]  # the order is that without overlap
    assert [reply.overlapped for reply in replies if isinstance(reply, ImageWritten)] == [True, False]


def test_a_cpu_decodes_between_the_steps(job: RenderJob) -> None:
    writer = FakeWriter()
    threads: set[Any] = set()
    writer.before = lambda word, image: threads.add((word, threading.current_thread().name))
    serve(job, writer=writer, sharing=OVERLAP)
    main = threading.current_thread().name
    assert threads == {(word, main) for word in ("open", "prepare", "advance", "decode")} | {("write", "writing")}


def test_the_next_job_is_advanced_too_and_the_ends_come_in_order(tmp_path: Path) -> None:
    first, second = make_job(tmp_path, 1, images=1), make_job(tmp_path, 2, images=1)
    advanced, writer = threading.Event(), FakeWriter()

    def before(word: str, image: FakeImage) -> None:
        if (word, image.job.job_id) == ("write", 1):
            assert advanced.wait(10)
        elif (word, image.job.job_id) == ("advance", 2):
            advanced.set()

    writer.before = before
    replies = serve(first, second, writer=writer, sharing=OVERLAP)
    assert [(type(reply), reply.job_id) for reply in replies] == [
        (Progress, 1),
        (Progress, 1),
        (Progress, 2),
        (Progress, 2),
        (ImageWritten, 1),
        (Finished, 1),
        (ImageWritten, 2),
        (Finished, 2),
    ]


@pytest.mark.parametrize("index", [0, 1])
def test_an_image_that_cannot_be_written_ends_its_job_alone(tmp_path: Path, index: int) -> None:
    first, second = make_job(tmp_path, 1), make_job(tmp_path, 2)
    writer = FakeWriter()
    writer.before = fails("write", ResultError("why"), index=index)
    replies = serve(first, second, writer=writer, sharing=OVERLAP)
    ends = {reply.job_id: reply for reply in replies if isinstance(reply, Finished | Failed)}
    assert ends == {1: Failed(1, Failure("inferenceError", "why", 500)), 2: Finished(2)}
    written = [(reply.job_id, reply.index) for reply in replies if isinstance(reply, ImageWritten)]
    assert written == [(1, 0)] * index + [(2, 0), (2, 1)]
    assert [output.path.exists() for output in first.outputs] == [index == 1, False]


def test_an_error_in_the_steps_comes_after_the_image_before(job: RenderJob) -> None:
    writer = FakeWriter()
    writer.before = fails("advance", ResultError("why"), index=1)
    assert kinds(serve(job, writer=writer, sharing=OVERLAP)) == [Progress, Progress, ImageWritten, Failed]


def test_an_image_whose_steps_are_done_is_written_in_spite_of_a_cancel(job: RenderJob) -> None:
    writer = FakeWriter()
    loop = Loop(job, sharing=OVERLAP, writer=writer)

    def before(word: str, image: FakeImage) -> None:
        if (word, image.output.index, image.step) == ("advance", 1, 0):
            loop.inbox._script.append(Cancel(1))

    writer.before = before
    replies = loop.run()
    assert kinds(replies) == [Progress, Progress, ImageWritten, Progress, Cancelled]


@pytest.mark.parametrize("where", ["decode", "write", "advance"])
def test_a_device_that_is_too_small_for_two_images_renders_one(job: RenderJob, where: str) -> None:
    writer = FakeWriter(on_gpu=True)
    writer.before = fails(where, OutOfMemoryError("full"), index=int(where == "advance"), times=1)
    loop = Loop(job, writer=writer, sharing=OVERLAP)
    replies = loop.run()
    assert [reply.index for reply in replies if isinstance(reply, ImageWritten)] == [0, 1]
    assert (replies[-1], writer.freed) == (Finished(1), 0)
    assert all(output.path.is_file() for output in job.outputs)


def test_a_job_that_was_cancelled_does_not_begin_again(job: RenderJob) -> None:
    writer, cancelled = FakeWriter(on_gpu=True), threading.Event()
    loop = Loop(job, writer=writer, sharing=OVERLAP)

    def before(word: str, image: FakeImage) -> None:
        if (word, image.output.index) == ("write", 0):
            assert cancelled.wait(10)
            raise OutOfMemoryError("full")
        if (word, image.output.index, image.step) == ("advance", 1, 1):  # its steps end with this one
            loop.inbox._script.append(Cancel(1))
            cancelled.set()

    writer.before = before
    assert kinds(loop.run())[-1] is Failed
    assert [word for word, *_ in writer.log].count("open") == 2


def test_other_weights_wait_for_the_images_under_way(tmp_path: Path) -> None:
    first, second = make_job(tmp_path, 1, images=1), make_job(tmp_path, 2, images=1)
    writer = FakeWriter(on_gpu=True)
    writer.other_weights.add(2)
    replies = serve(first, second, writer=writer, sharing=OVERLAP)
    assert kinds(replies)[2:5] == [ImageWritten, Finished, Loading]
    assert writer.log.index(("write", 1, 0)) < writer.log.index(("open", 2, 0))


@pytest.mark.parametrize("alone", [True, False])
def test_what_needs_the_memory_waits_for_the_encoder_of_a_job_that_was_stopped(tmp_path: Path, alone: bool) -> None:
    first, second, third = (make_job(tmp_path, number, images=1) for number in (1, 2, 3))
    writer, opened = FakeWriter(on_gpu=True), threading.Event()
    loop = Loop(first, second, writer=writer, sharing=Sharing(overlap=True, renders=2))

    def before(word: str, image: FakeImage) -> None:
        if (word, image.job.job_id) == ("prepare", 2):
            opened.wait(0.05)
        elif (word, image.job.job_id) == ("advance", 1):
            loop.inbox._script.extend([Cancel(1), Cancel(2), replace(third, alone=alone)])
        elif image.job.job_id == 3:
            opened.set()

    writer.before = before
    writer.other_weights.update(() if alone else {3})
    assert loop.run()[-1] == Finished(3)
    assert writer.log.index(("prepare", 2, 0)) < writer.log.index(("open", 3, 0))


@pytest.mark.parametrize("alone", [1, 2])
def test_a_job_that_is_to_be_alone_waits_and_lets_others_wait(tmp_path: Path, alone: int) -> None:
    jobs = [replace(make_job(tmp_path, number, images=1), alone=number == alone) for number in (1, 2)]
    writer = FakeWriter(on_gpu=True)
    assert kinds(serve(*jobs, writer=writer, sharing=OVERLAP))[2:4] == [ImageWritten, Finished]
    assert writer.log.index(("write", 1, 0)) < writer.log.index(("open", 2, 0))


def test_images_that_are_under_way_together_learn_nothing_of_the_memory(job: RenderJob) -> None:
    shared: list[bool] = []
    writer = FakeWriter(on_gpu=True)
    writer.before = lambda word, image: shared.append(image.shared) if word == "write" else None
    serve(job, writer=writer, sharing=OVERLAP)
    assert shared[1]


def test_few_images_wait_to_be_written(tmp_path: Path) -> None:
    job, writer = make_job(tmp_path, 1, images=9), FakeWriter()
    waiting, most = 0, 0

    def before(word: str, image: FakeImage) -> None:
        nonlocal waiting, most
        waiting += {"decode": 1, "write": -1}.get(word, 0)
        most = max(most, waiting)

    writer.before = before
    assert serve(job, writer=writer, sharing=OVERLAP)[-1] == Finished(1)
    assert most <= open_jobs.MOST_ENDINGS
