from dataclasses import replace

from server.jobs.job import Job, Result
from server.tasks.endings.expired_images import EXPIRED_IMAGE, without_expired
from tests.server.jobs.common import submission
from tests.server.media.images import images

ONE, TWO = Result(0, "one", 1, 0.1, "{}"), Result(1, "two", 2, 0.1, "{}")
DONE = Job(1, submission(count=2), "done", 0.0, 0.0, 1.0, results=(ONE, TWO))


async def test_images_that_are_gone_are_left_out() -> None:
    assert await without_expired(DONE, images()) == DONE
    assert await without_expired(DONE, images("one")) == replace(DONE, results=(TWO,))


async def test_a_job_with_none_left_has_failed() -> None:
    expected = replace(DONE, state="failed", failure=EXPIRED_IMAGE, results=())
    assert await without_expired(DONE, images("one", "two")) == expected


async def test_other_jobs_stay_as_they_are() -> None:
    running, none = replace(DONE, state="running"), replace(DONE, results=())
    assert await without_expired(running, images("one", "two")) == running
    assert await without_expired(none, images()) == none
