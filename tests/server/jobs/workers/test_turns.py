"""Jobs of one worker in turns: those of different keys, and those of different priorities."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.errors import PromptError, ResultError
from server.errors import Failure
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
from server.options.sharing import ALONE, Sharing
from tests.fakes import FakeImage, FakeWriter
from tests.server.jobs.workers.loops import TURNS, Loop, OutOfMemoryError, fails, make_job, serve


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
