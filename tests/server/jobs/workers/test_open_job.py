from pathlib import Path

import pytest

from server.jobs.workers.messages import Cancelled, Finished, Output, Progress, RenderJob
from server.jobs.workers.open_job import Opened, OpenJob
from server.media.encode import Encoding
from tests.fakes import FakeImage, FakeWriter
from tests.server.jobs.common import REQUEST


@pytest.fixture
def job(tmp_path: Path) -> OpenJob:
    """A job of three images, the first of which is written and the second under way."""
    outputs = tuple(Output(index, tmp_path / f"{index}.png") for index in range(3))
    job = OpenJob(RenderJob(1, REQUEST, Encoding("PNG", 95), outputs))
    for _ in range(2):
        output = job.outputs.popleft()
        job.current = Opened((output,), FakeImage(FakeWriter(), job.job, [output]))
        if output.index == 0:
            job.end_steps()
    return job


def step(index: int, step: int = 1) -> Progress:
    return Progress(1, index, step, 2)


def test_what_is_told_of_an_image_comes_after_the_images_before(job: OpenJob) -> None:
    assert job.passes(step(0))
    assert not job.passes(step(1, 1))
    assert not job.passes(step(1, 2))
    job.endings.popleft()
    assert list(job.next_replies()) == [step(1, 1), step(1, 2)]
    job.end_steps()
    assert not job.passes(step(2))
    assert list(job.next_replies()) == []
    job.endings.popleft()
    assert list(job.next_replies()) == [step(2)]


def test_it_ends_once_all_images_are_written(job: OpenJob) -> None:
    job.end_steps()
    job.outputs.clear()
    assert not job.steps_wait
    assert list(job.next_replies()) == []
    job.endings.clear()
    assert list(job.next_replies()) == [Finished(1)]


def test_a_job_that_is_stopped_still_writes_what_has_no_steps_left(job: OpenJob) -> None:
    job.stop(Cancelled(1))
    assert (job.steps_wait, len(job.under_way), list(job.next_replies())) == (False, 1, [])
    job.endings.popleft()
    assert list(job.next_replies()) == [Cancelled(1)]


def test_a_job_that_begins_again_has_all_images_that_are_not_written(job: OpenJob) -> None:
    job.passes(step(1))
    job.begin_again()
    assert [output.index for output in job.outputs] == [0, 1, 2]
    assert (job.alone, job.under_way, list(job.next_replies())) == (True, [], [])


def test_without_an_image_no_steps_end(job: OpenJob) -> None:
    job.end_steps()
    with pytest.raises(ValueError, match="no image"):
        job.end_steps()
