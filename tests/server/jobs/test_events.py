import pytest

from server.jobs.events import Begun, Ended, JobEvents, PreviewReady, QueueMoved, ResultReady, StepDone, Stopping
from server.jobs.job import Job, Result
from tests.server.jobs.common import submission

RESULT = Result(0, "a", 1, 0.1, "{}")


class Recorded:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.images: list[tuple[Job, Result]] = []
        self.ended: list[Job] = []

    def record_image(self, job: Job, result: Result) -> None:
        self.images.append((job, result))

    def record_end(self, job: Job) -> None:
        self.ended.append(job)


def job(number: int = 0) -> Job:
    return Job(number, submission(number), "running", 0.0)


async def test_each_watcher_of_a_job_gets_its_events_and_no_others() -> None:
    events = JobEvents()
    ready, end = ResultReady(job(1), RESULT), Ended(job(1))
    with events.watch(job(1).submission.key) as one, events.watch(job(1).submission.key) as two:
        events.publish(Ended(job(2)))
        events.publish(ready)
        events.publish(end)
        assert [one.get_nowait() for _ in range(2)] == [two.get_nowait() for _ in range(2)] == [ready, end]
        assert one.empty()


@pytest.mark.parametrize("still_watched", [True, False])
async def test_after_watching_nothing_more_arrives(still_watched: bool) -> None:
    events = JobEvents()
    key = job().submission.key
    with events.watch(key) as outer:
        with events.watch(key) as inner:
            pass
        if still_watched:
            events.publish(Ended(job()))
        assert inner.empty()
        assert outer.empty() != still_watched
    events.publish(Ended(job()))
    assert outer.qsize() == still_watched


async def test_the_observer_is_told_of_every_job() -> None:
    observer = Recorded()
    events = JobEvents(observer)
    events.publish(ResultReady(job(1), RESULT))
    events.publish(Ended(job(2)))
    assert (observer.images, observer.ended) == ([(job(1), RESULT)], [job(2)])


async def test_stopping_is_told_to_all_who_wait() -> None:
    events = JobEvents()
    with events.watch(job(1).submission.key) as one, events.watch(job(2).submission.key) as two:
        events.announce_stop()
        assert [one.get_nowait(), two.get_nowait()] == [Stopping(), Stopping()]


async def test_a_live_watcher_gets_the_latest_step_and_preview_and_every_result() -> None:
    events = JobEvents()
    key = job(1).submission.key
    assert not events.has_live_watchers(key)
    with events.watch_live(key) as mailbox, events.watch(key) as plain:
        assert events.has_live_watchers(key)
        events.publish_live(StepDone(job(2), 0, 1, 2, reused=False))
        for step in (1, 2):
            events.publish_live(StepDone(job(1), 0, step, 2, reused=False))
            events.publish_live(PreviewReady(job(1), 0, step, b"jpeg"))
            events.publish(ResultReady(job(1), RESULT))
        events.announce_stop()
        told = [await mailbox.get() for _ in range(5)]
        assert told == [
            ResultReady(job(1), RESULT),
            StepDone(job(1), 0, 2, 2, reused=False),
            PreviewReady(job(1), 0, 2, b"jpeg"),
            ResultReady(job(1), RESULT),
            Stopping(),
        ]
        assert plain.qsize() == 3
    assert not events.has_live_watchers(key)


async def test_a_live_watcher_hears_that_the_queue_has_moved() -> None:
    events = JobEvents()
    with events.watch_live(job(1).submission.key) as mailbox:
        events.publish_live(Begun(job(2)))
        events.publish(Ended(job(2)))
        events.move_queue()
        events.publish_live(Begun(job(1)))
        assert [await mailbox.get() for _ in range(2)] == [Begun(job(1)), QueueMoved()]
