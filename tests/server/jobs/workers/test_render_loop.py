"""The loop of a worker, with a fake in place of the models and a script in place of the API process."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog

from pipelines.errors import ResultError
from pipelines.request import FaceRefinement
from server.jobs.workers import render_loop
from server.jobs.workers.messages import (
    Cancel,
    Cancelled,
    Failed,
    Finished,
    ImageWritten,
    Ping,
    Pong,
    Preview,
    Progress,
    RenderJob,
    Stop,
    Watch,
)
from server.options.sharing import Sharing
from tests.fakes import FakeImage, FakeWriter, write_flat_image
from tests.server.jobs.workers.loops import (
    LATER,
    OVERLAP,
    TURNS,
    Loop,
    OutOfMemoryError,
    both,
    fails,
    kinds,
    make_job,
    serve,
)

FACES = FaceRefinement("a face", None, true_cfg_scale=1.0, steps=2, strength=1.0, mask_blur=0)


@both
@pytest.mark.parametrize("on_gpu", [True, False])
def test_a_job(job: RenderJob, sharing: Sharing, on_gpu: bool) -> None:
    writer = FakeWriter(on_gpu=on_gpu)
    replies = serve(job, writer=writer, sharing=sharing)
    image = [Progress, Progress, ImageWritten]
    assert kinds(replies) == [*image, *image, Finished]
    assert replies[:2] == [Progress(1, 0, 1, 2), Progress(1, 0, 2, 2)]
    assert all(output.path.is_file() for output in job.outputs)
    assert writer.written == 2


@both
def test_an_image_without_steps(job: RenderJob, sharing: Sharing) -> None:
    job = replace(job, request=replace(job.request, steps=0))
    assert kinds(serve(job, sharing=sharing)) == [ImageWritten, ImageWritten, Finished]


def test_a_worker_answers_with_and_without_a_job(job: RenderJob) -> None:
    assert serve(Ping(), LATER, Ping()) == [Pong(), Pong()]
    replies = serve(job, Ping())
    assert (kinds(replies).count(Pong), kinds(replies)[-1]) == (1, Finished)


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
    now = iter(0.1 * tick for tick in range(1, 1000))  # the clock is read once a step
    monkeypatch.setattr(render_loop.time, "monotonic", lambda: next(now))
    many = replace(job, request=replace(job.request, steps=40))
    shown = [reply.step for reply in serve(many, Watch(1, True)) if isinstance(reply, Preview) and reply.index == 0]
    assert shown[:3] == [1, 4, 7]
    assert 40 not in shown  # the image itself follows


def test_a_preview_that_was_drawn_too_late_is_not_sent(job: RenderJob) -> None:
    replies = serve(job, Watch(1, True), writer=FakeWriter(on_gpu=True), sharing=OVERLAP)
    assert Preview not in kinds(replies)  # the script lets it arrive after the last step


@both
def test_the_log_names_the_task_of_a_job(job: RenderJob, sharing: Sharing) -> None:
    seen: set[Any] = set()
    writer = FakeWriter(on_gpu=True)
    writer.before = lambda word, image: seen.add((word, structlog.contextvars.get_contextvars().get("task")))
    serve(job, writer=writer, sharing=sharing)
    assert seen == {(word, "1") for word in ("open", "prepare", "advance", "decode", "write")}
    assert structlog.contextvars.get_contextvars() == {}


def test_a_cancel_stops_the_job_and_not_the_next(job: RenderJob) -> None:
    replies = serve(job, Cancel(1), LATER, replace(job, job_id=2), LATER, Stop())
    assert replies[0] == Cancelled(1)
    assert replies[-1] == Finished(2)


@pytest.mark.parametrize("late", [(Cancel(9),), (LATER, Cancel(1))])
def test_a_cancel_of_another_job_stops_none(job: RenderJob, late: tuple[Any, ...]) -> None:
    assert serve(job, *late)[-1] == Finished(1)


def test_a_stop_ends_the_process_in_the_middle_of_a_job(job: RenderJob) -> None:
    assert serve(job, Stop(), replace(job, job_id=2)) == []


@pytest.mark.parametrize("cancelled", [True, False])
def test_faces_are_refined_between_the_messages(tmp_path: Path, cancelled: bool) -> None:
    job = make_job(tmp_path, 1, images=1)
    job = replace(job, request=replace(job.request, faces=FACES))
    writer = FakeWriter(on_gpu=True)
    loop = Loop(job, sharing=OVERLAP, writer=writer)

    def before(word: str, image: FakeImage) -> None:
        if word == "decode" and cancelled:
            loop.inbox._script.append(Cancel(1))

    writer.before = before
    replies = loop.run()
    if cancelled:
        assert replies == [Progress(1, 0, 1, 2), Progress(1, 0, 2, 2), Cancelled(1)]
    else:
        assert replies[1] == replies[2] == Progress(1, 0, 2, 2)
        assert kinds(replies[3:]) == [ImageWritten, Finished]


class TestBatches:
    """Images of a job that are advanced together."""

    @pytest.mark.parametrize("overlap", [True, False])
    def test_as_many_as_pay_are_under_way_together(self, tmp_path: Path, overlap: bool) -> None:
        writer = FakeWriter()
        writer.together = 2
        replies = serve(make_job(tmp_path, 1, images=3), writer=writer, sharing=Sharing(overlap=overlap))
        assert [reply for reply in replies if isinstance(reply, Progress)] == [
            Progress(1, 0, 1, 2, together=2),
            Progress(1, 0, 2, 2, together=2),
            Progress(1, 2, 1, 2),
            Progress(1, 2, 2, 2),
        ]
        written = [reply for reply in replies if isinstance(reply, ImageWritten)]
        assert [(reply.index, reply.seed) for reply in written] == [(0, 7), (1, 8), (2, 9)]
        assert replies[-1] == Finished(1)

    def test_a_batch_that_is_too_large_is_rendered_one_after_the_other(self, tmp_path: Path) -> None:
        writer = FakeWriter()
        writer.together = 3
        writer.before = fails("advance", OutOfMemoryError("full"), times=1)
        replies = serve(make_job(tmp_path, 1, images=3), writer=writer)
        assert {reply.together for reply in replies if isinstance(reply, Progress)} == {1}
        assert (replies[-1], writer.freed) == (Finished(1), 0)

    @both
    def test_a_batch_that_cannot_be_written_leaves_no_file(self, tmp_path: Path, sharing: Sharing) -> None:
        job, writer = make_job(tmp_path, 1, images=2), FakeWriter()
        writer.together = 2

        def before(word: str, image: FakeImage) -> None:
            if word == "write":
                write_flat_image(image.job, image.outputs[0])
                raise ResultError("why")

        writer.before = before
        assert kinds(serve(job, writer=writer, sharing=sharing)) == [Progress, Progress, Failed]
        assert not any(output.path.exists() for output in job.outputs)

    def test_a_batch_costs_its_key_each_of_its_images(self, tmp_path: Path) -> None:
        two, one = make_job(tmp_path, 1, images=2, steps=4), make_job(tmp_path, 2, images=1, steps=8)
        writer = FakeWriter()
        writer.together = 2
        replies = serve(replace(two, owner="a"), replace(one, owner="b"), writer=writer, sharing=TURNS)
        steps = [reply.job_id for reply in replies if isinstance(reply, Progress)]
        assert steps == [1, 2, 2, 1, 2, 2, 1, 2, 2, 1, 2, 2]
