"""The loop of a worker, with a fake in place of the models and a script in place of the API process."""

import errno
import gc
import threading
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
import structlog

from pipelines.errors import ControlError, LoadError, LoraError, PromptError, RenderError, ResultError, SizeError
from pipelines.request import FaceRefinement
from server.errors import Failure
from server.jobs.workers import render_loop
from server.jobs.workers.inbox import Completed
from server.jobs.workers.messages import (
    Cancel,
    Cancelled,
    Failed,
    Finished,
    ImageWritten,
    Loading,
    Output,
    Ping,
    Pong,
    Preview,
    Progress,
    RenderJob,
    Stop,
    Watch,
)
from server.jobs.workers.render_loop import RenderLoop, Stopped, Writer
from server.media.encode import Encoding
from server.options.sharing import ALONE, Sharing
from tests.fakes import FakeImage, FakeWriter, write_flat_image
from tests.server.jobs.common import REQUEST

LATER = object()  # what follows in a script has not arrived before the loop has nothing else to do
OVERLAP = Sharing(overlap=True)
FACES = FaceRefinement("a face", None, true_cfg_scale=1.0, steps=2, strength=1.0, mask_blur=0)


class ScriptedInbox:
    """Messages that arrive, and whose sender then hangs up.

    What the background has done arrives when the loop has nothing else to do, or as soon as `wait_for_background` says.
    """

    def __init__(self, *script: Any) -> None:
        self._script = deque(script)
        self._completed: SimpleQueue[Completed] = SimpleQueue()
        self.submitted = 0
        self.taken = 0

    def take(self, *, wait: bool) -> Any:
        if self._script and self._script[0] is not LATER:
            return self._script.popleft()
        if not wait:
            return None
        if self.taken < self.submitted:
            self.taken += 1
            return self._completed.get(timeout=10)
        while self._script:
            if (message := self._script.popleft()) is not LATER:
                return message
        raise EOFError

    def put(self, message: Completed) -> None:
        self._completed.put(message)


class Loop:
    """A loop with a script; `replies` are its answers."""

    def __init__(self, *script: Any, writer: Writer, sharing: Sharing = ALONE) -> None:
        self.inbox = ScriptedInbox(*script)
        self.replies: list[Any] = []
        self._loop = RenderLoop(self.inbox, self.replies.append, writer, sharing)
        self._loop._encode = self._counted(self._loop._encode)
        self._loop._write = self._counted(self._loop._write)

    def _counted(self, submit: Callable[..., None]) -> Callable[..., None]:
        def counted(*arguments: Any) -> None:
            self.inbox.submitted += 1
            submit(*arguments)

        return counted

    def take_background(self) -> None:
        """Take what the background does, although the loop has something else to do."""
        self._loop._take_messages(wait=True)

    def run(self) -> list[Any]:
        with pytest.raises((Stopped, EOFError)):
            self._loop.run()
        return self.replies


def serve(*script: Any, writer: Writer | None = None, sharing: Sharing = ALONE) -> list[Any]:
    """What a worker answers to a script."""
    return Loop(*script, writer=writer or FakeWriter(), sharing=sharing).run()


def kinds(replies: list[Any]) -> list[type]:
    return [type(reply) for reply in replies]


@pytest.fixture
def job(tmp_path: Path) -> RenderJob:
    return make_job(tmp_path, 1)


def make_job(folder: Path, job_id: int, images: int = 2, steps: int = 2) -> RenderJob:
    outputs = tuple(Output(index, folder / f"{job_id}-{index}.png") for index in range(images))
    return RenderJob(job_id, replace(REQUEST, seed=7, steps=steps), Encoding("PNG", 95), outputs, str(job_id))


both = pytest.mark.parametrize("sharing", [ALONE, OVERLAP], ids=["one after the other", "overlap"])


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


@both
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
def test_what_cannot_be_rendered_says_why(
    job: RenderJob, error: RenderError, failure: Failure, sharing: Sharing
) -> None:
    assert serve(job, writer=FakeWriter(error), sharing=sharing) == [Failed(1, failure)]


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


@both
def test_a_full_disk_is_told_as_that(job: RenderJob, sharing: Sharing) -> None:
    writer = FakeWriter()
    writer.before = fails("write", OSError(errno.ENOSPC, "No space left on device"))
    *_, failed = serve(job, writer=writer, sharing=sharing)
    assert (failed.failure.code, failed.failure.status) == ("insufficientStorage", 507)


@pytest.mark.parametrize("where", ["open", "prepare", "advance", "decode", "write"])
@both
def test_after_an_error_nothing_of_the_render_is_held(tmp_path: Path, where: str, sharing: Sharing) -> None:
    tensors: list[weakref.ref[FakeImage]] = []

    class Greedy(FakeWriter):
        def free_memory(self) -> None:
            gc.collect()  # as the real one does
            assert tensors[0]() is None
            super().free_memory()

    def before(word: str, image: FakeImage) -> None:
        if word == where:
            tensors.append(weakref.ref(image))
            raise OutOfMemoryError("CUDA out of memory")

    writer = Greedy(on_gpu=True)
    writer.before = before
    assert kinds(serve(make_job(tmp_path, 1, images=1), writer=writer, sharing=sharing))[-1] is Failed
    assert writer.freed == 1


def fails(where: str, error: Exception, *, job_id: int = 1, index: int = 0, times: int = 10**6) -> Any:
    """Something to do `before`: an error at one thing of one image."""
    left = [times]

    def before(word: str, image: FakeImage) -> None:
        if (word, image.job.job_id, image.output.index) == (where, job_id, index) and left[0]:
            left[0] -= 1
            raise error

    return before


class TestOverlap:
    """What comes after the steps of an image runs beside those of the next."""

    @pytest.mark.parametrize("on_gpu", [True, False])
    def test_the_next_image_is_advanced_while_one_is_written(self, job: RenderJob, on_gpu: bool) -> None:
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

    def test_a_cpu_decodes_between_the_steps(self, job: RenderJob) -> None:
        writer = FakeWriter()
        threads: set[Any] = set()
        writer.before = lambda word, image: threads.add((word, threading.current_thread().name))
        serve(job, writer=writer, sharing=OVERLAP)
        main = threading.current_thread().name
        assert threads == {(word, main) for word in ("open", "prepare", "advance", "decode")} | {("write", "writing")}

    def test_the_next_job_is_advanced_too_and_the_ends_come_in_order(self, tmp_path: Path) -> None:
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
    def test_an_image_that_cannot_be_written_ends_its_job_alone(self, tmp_path: Path, index: int) -> None:
        first, second = make_job(tmp_path, 1), make_job(tmp_path, 2)
        writer = FakeWriter()
        writer.before = fails("write", ResultError("why"), index=index)
        replies = serve(first, second, writer=writer, sharing=OVERLAP)
        ends = {reply.job_id: reply for reply in replies if isinstance(reply, Finished | Failed)}
        assert ends == {1: Failed(1, Failure("inferenceError", "why", 500)), 2: Finished(2)}
        written = [(reply.job_id, reply.index) for reply in replies if isinstance(reply, ImageWritten)]
        assert written == [(1, 0)] * index + [(2, 0), (2, 1)]
        assert [output.path.exists() for output in first.outputs] == [index == 1, False]

    def test_an_error_in_the_steps_comes_after_the_image_before(self, job: RenderJob) -> None:
        writer = FakeWriter()
        writer.before = fails("advance", ResultError("why"), index=1)
        assert kinds(serve(job, writer=writer, sharing=OVERLAP)) == [Progress, Progress, ImageWritten, Failed]

    def test_an_image_whose_steps_are_done_is_written_in_spite_of_a_cancel(self, job: RenderJob) -> None:
        writer = FakeWriter()
        loop = Loop(job, sharing=OVERLAP, writer=writer)

        def before(word: str, image: FakeImage) -> None:
            if (word, image.output.index, image.step) == ("advance", 1, 0):
                loop.inbox._script.append(Cancel(1))

        writer.before = before
        replies = loop.run()
        assert kinds(replies) == [Progress, Progress, ImageWritten, Progress, Cancelled]

    @pytest.mark.parametrize("where", ["decode", "write", "advance"])
    def test_a_device_that_is_too_small_for_two_images_renders_one(self, job: RenderJob, where: str) -> None:
        writer = FakeWriter(on_gpu=True)
        writer.before = fails(where, OutOfMemoryError("full"), index=int(where == "advance"), times=1)
        loop = Loop(job, writer=writer, sharing=OVERLAP)
        replies = loop.run()
        assert [reply.index for reply in replies if isinstance(reply, ImageWritten)] == [0, 1]
        assert (replies[-1], writer.freed) == (Finished(1), 0)
        assert all(output.path.is_file() for output in job.outputs)

    def test_a_job_that_was_cancelled_does_not_begin_again(self, job: RenderJob) -> None:
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

    def test_other_weights_wait_for_the_images_under_way(self, tmp_path: Path) -> None:
        first, second = make_job(tmp_path, 1, images=1), make_job(tmp_path, 2, images=1)
        writer = FakeWriter(on_gpu=True)
        writer.other_weights.add(2)
        replies = serve(first, second, writer=writer, sharing=OVERLAP)
        assert kinds(replies)[2:5] == [ImageWritten, Finished, Loading]
        assert writer.log.index(("write", 1, 0)) < writer.log.index(("open", 2, 0))

    @pytest.mark.parametrize("alone", [True, False])
    def test_what_needs_the_memory_waits_for_the_encoder_of_a_job_that_was_stopped(
        self, tmp_path: Path, alone: bool
    ) -> None:
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
    def test_a_job_that_is_to_be_alone_waits_and_lets_others_wait(self, tmp_path: Path, alone: int) -> None:
        jobs = [replace(make_job(tmp_path, number, images=1), alone=number == alone) for number in (1, 2)]
        writer = FakeWriter(on_gpu=True)
        assert kinds(serve(*jobs, writer=writer, sharing=OVERLAP))[2:4] == [ImageWritten, Finished]
        assert writer.log.index(("write", 1, 0)) < writer.log.index(("open", 2, 0))

    def test_images_that_are_under_way_together_learn_nothing_of_the_memory(self, job: RenderJob) -> None:
        shared: list[bool] = []
        writer = FakeWriter(on_gpu=True)
        writer.before = lambda word, image: shared.append(image.shared) if word == "write" else None
        serve(job, writer=writer, sharing=OVERLAP)
        assert shared[1]

    def test_few_images_wait_to_be_written(self, tmp_path: Path) -> None:
        job, writer = make_job(tmp_path, 1, images=9), FakeWriter()
        waiting, most = 0, 0

        def before(word: str, image: FakeImage) -> None:
            nonlocal waiting, most
            waiting += {"decode": 1, "write": -1}.get(word, 0)
            most = max(most, waiting)

        writer.before = before
        assert serve(job, writer=writer, sharing=OVERLAP)[-1] == Finished(1)
        assert most <= render_loop.MOST_ENDINGS


TURNS = Sharing(renders=2)


class TestTurns:
    """Jobs of different keys are advanced in turns."""

    def jobs(self, folder: Path, *steps: int, owners: str = "ab", images: int = 1) -> list[RenderJob]:
        made = [make_job(folder, number, images, count) for number, count in enumerate(steps, 1)]
        return [replace(job, owner=owner) for job, owner in zip(made, owners, strict=True)]

    def steps(self, replies: list[Any]) -> list[int]:
        return [reply.job_id for reply in replies if isinstance(reply, Progress)]

    @pytest.mark.parametrize("overlap", [True, False])
    @pytest.mark.parametrize("on_gpu", [True, False])
    def test_two_keys_step_by_step(self, tmp_path: Path, overlap: bool, on_gpu: bool) -> None:
        writer = FakeWriter(on_gpu=on_gpu)
        sharing = Sharing(overlap=overlap, renders=2)
        replies = serve(*self.jobs(tmp_path, 3, 3), writer=writer, sharing=sharing)
        if not (overlap and on_gpu):  # there the second one has its prompt encoded meanwhile
            assert self.steps(replies) == [1, 2, 1, 2, 1, 2]
        assert {reply.job_id for reply in replies if isinstance(reply, Finished)} == {1, 2}
        assert len([reply for reply in replies if isinstance(reply, ImageWritten)]) == 2

    def test_without_turns_the_first_one_has_all_its_steps(self, tmp_path: Path) -> None:
        assert self.steps(serve(*self.jobs(tmp_path, 3, 3))) == [1, 1, 1, 2, 2, 2]

    def test_weights_count(self, tmp_path: Path) -> None:
        one, three = self.jobs(tmp_path, 12, 12)
        replies = serve(one, replace(three, weight=3.0), sharing=TURNS)
        assert self.steps(replies)[:12].count(2) == 9

    def test_a_key_has_its_jobs_one_after_the_other(self, tmp_path: Path) -> None:
        assert self.steps(serve(*self.jobs(tmp_path, 3, 3, owners="aa"), sharing=TURNS)) == [1, 1, 1, 2, 2, 2]

    def test_a_short_job_of_the_key_comes_between(self, tmp_path: Path) -> None:
        steps = self.steps(serve(*self.jobs(tmp_path, 20, 2, owners="aa"), sharing=TURNS))
        assert steps.index(2) <= 1
        assert len(steps) - steps[::-1].index(2) <= 5

    def test_more_jobs_than_may_be_open_wait(self, tmp_path: Path) -> None:
        writer = FakeWriter()
        serve(*self.jobs(tmp_path, 2, 2, 2, owners="abc"), writer=writer, sharing=TURNS)
        assert writer.log.index(("write", 1, 0)) < writer.log.index(("open", 3, 0))

    def test_a_next_image_and_a_next_job_are_not_opened_beside_others_both(self, tmp_path: Path) -> None:
        first, second, third = self.jobs(tmp_path, 9, 1, 1, owners="abc")
        second = replace(second, outputs=make_job(tmp_path, 2, images=2).outputs)
        open_now, most = set[int](), 0
        writer = FakeWriter(on_gpu=True)
        loop = Loop(first, second, third, writer=writer, sharing=Sharing(overlap=True, renders=2))

        def before(word: str, image: FakeImage) -> None:
            nonlocal most
            if word == "open":
                open_now.add(image.job.job_id)
            elif word == "advance" and image.step == image.steps - 1:
                open_now.remove(image.job.job_id)
            elif (word, image.step) == ("advance", 1):
                loop.take_background()  # the second one is prepared
            most = max(most, len(open_now))

        writer.before = before
        loop.run()
        assert most == 2

    def test_a_job_that_does_not_fit_waits_and_is_not_passed_by(self, tmp_path: Path) -> None:
        writer = FakeWriter()
        writer.room = 0
        replies = serve(*self.jobs(tmp_path, 2, 2, 2, owners="abc"), writer=writer, sharing=Sharing(renders=3))
        assert self.steps(replies) == [1, 1, 2, 2, 3, 3]

    def test_the_next_image_of_a_long_job_waits_for_the_other_key(self, tmp_path: Path) -> None:
        writer = FakeWriter()
        writer.room = 0
        replies = serve(*self.jobs(tmp_path, 2, 2, images=3), writer=writer, sharing=TURNS)
        assert self.steps(replies) == [1, 1, 2, 2, 1, 1, 2, 2, 1, 1, 2, 2]

    def test_a_cancel_ends_one_of_them(self, tmp_path: Path) -> None:
        loop = Loop(*self.jobs(tmp_path, 4, 4), writer=(writer := FakeWriter()), sharing=TURNS)

        def before(word: str, image: FakeImage) -> None:
            if (word, image.job.job_id, image.step) == ("advance", 2, 1):
                loop.inbox._script.append(Cancel(1))

        writer.before = before
        replies = loop.run()
        assert Cancelled(1) in replies
        assert replies[-1] == Finished(2)
        assert self.steps(replies).count(1) == 2

    def test_an_error_ends_one_of_them(self, tmp_path: Path) -> None:
        writer = FakeWriter()
        writer.before = fails("advance", ResultError("why"))
        replies = serve(*self.jobs(tmp_path, 4, 4), writer=writer, sharing=TURNS)
        assert Failed(1, Failure("inferenceError", "why", 500)) in replies
        assert replies[-1] == Finished(2)

    def test_what_is_too_large_beside_others_begins_again_alone(self, tmp_path: Path) -> None:
        writer, failed = FakeWriter(), list[int]()

        def before(word: str, image: FakeImage) -> None:
            if (word, image.job.job_id, image.step) == ("advance", 1, 1) and not failed:
                failed.append(1)
                raise OutOfMemoryError("full")

        writer.before = before
        replies = serve(*self.jobs(tmp_path, 3, 3), writer=writer, sharing=TURNS)
        assert self.steps(replies) == [1, 2, 2, 2, 1, 1, 1]
        assert {reply.job_id for reply in replies if isinstance(reply, Finished)} == {1, 2}
        assert writer.freed == 0

    def test_the_prompt_of_the_next_job_is_encoded_beside_the_steps(self, tmp_path: Path) -> None:
        writer = FakeWriter(on_gpu=True)
        threads: dict[tuple[str, int], str] = {}

        def before(word: str, image: FakeImage) -> None:
            threads[word, image.job.job_id] = threading.current_thread().name

        writer.before = before
        replies = serve(
            *self.jobs(tmp_path, 3, 3, owners="aa"), writer=writer, sharing=Sharing(overlap=True, renders=2)
        )
        assert threads["prepare", 2] == "encoding"
        assert threads["prepare", 1] == threads["advance", 2] == threading.current_thread().name
        assert self.steps(replies) == [1, 1, 1, 2, 2, 2]
        assert writer.log.index(("open", 2, 0)) < writer.log.index(("write", 1, 0))

    def test_an_image_without_steps_may_be_prepared_beside_others(self, tmp_path: Path) -> None:
        replies = serve(
            *self.jobs(tmp_path, 3, 0), writer=FakeWriter(on_gpu=True), sharing=Sharing(overlap=True, renders=2)
        )
        assert self.steps(replies) == [1, 1, 1]
        assert {reply.job_id for reply in replies if isinstance(reply, ImageWritten)} == {1, 2}

    def test_an_error_of_the_encoder_ends_its_job_alone(self, tmp_path: Path) -> None:
        writer = FakeWriter(on_gpu=True)
        writer.before = fails("prepare", PromptError("why", "prompt"), job_id=2)
        replies = serve(*self.jobs(tmp_path, 3, 3), writer=writer, sharing=Sharing(overlap=True, renders=2))
        assert Failed(2, Failure("inferenceError", "why", 500, "prompt")) in replies
        assert Finished(1) in replies


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


class TestLowPriority:
    """Jobs of low priority give way at their next step."""

    def run(self, folder: Path, writer: FakeWriter, *, sharing: Sharing = ALONE) -> list[Any]:
        """A low job of 5 steps, and another job of 2 steps that arrives after the low one's second."""
        low, other = (replace(make_job(folder, number, 1, steps), owner="a") for number, steps in ((1, 5), (2, 2)))
        loop = Loop(replace(low, low=True), writer=writer, sharing=sharing)

        def before(word: str, image: FakeImage) -> None:
            if (word, image.job.job_id, image.step) == ("advance", 1, 1) and 2 not in sent:
                sent.append(2)
                loop.inbox._script.append(other)

        sent: list[int] = []
        writer.before = before
        return loop.run()

    def steps(self, replies: list[Any]) -> str:
        return "".join(str(reply.job_id) for reply in replies if isinstance(reply, Progress))

    @pytest.mark.parametrize("overlap", [True, False])
    def test_the_image_goes_on_where_it_was(self, tmp_path: Path, overlap: bool) -> None:
        replies = self.run(tmp_path, FakeWriter(), sharing=Sharing(overlap=overlap))
        assert self.steps(replies) == "1122111"
        assert [reply.job_id for reply in replies if isinstance(reply, Finished)] == [2, 1]

    def test_without_memory_for_both_the_image_begins_again(self, tmp_path: Path) -> None:
        writer = FakeWriter()
        writer.room = 0
        assert self.steps(self.run(tmp_path, writer)) == "112211111"
        assert [entry[:2] for entry in writer.log if entry[0] == "open"] == [("open", 1), ("open", 2), ("open", 1)]

    def test_for_other_weights_the_image_begins_again(self, tmp_path: Path) -> None:
        writer = FakeWriter()
        writer.other_weights.add(2)
        replies = self.run(tmp_path, writer)
        assert self.steps(replies) == "112211111"
        assert Loading(2) in replies

    def test_the_next_image_waits_too(self, tmp_path: Path) -> None:
        low = replace(make_job(tmp_path, 1, images=2), low=True)
        writer = FakeWriter()
        replies = serve(low, make_job(tmp_path, 2, images=2), writer=writer)
        assert self.steps(replies) == "22221111"

    def test_a_cancel_of_one_that_waits_ends_it(self, tmp_path: Path) -> None:
        low, other = replace(make_job(tmp_path, 1), low=True), make_job(tmp_path, 2)
        replies = serve(low, other, Cancel(1))
        assert replies[0] == Cancelled(1)
        assert replies[-1] == Finished(2)
