"""Following a task: from any moment, and again after a break."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from server.errors import NotFound
from server.jobs.events import Begun, Ended, PreviewReady, ResultReady, StepDone
from server.jobs.queue import JobQueue
from server.tasks.submit import TaskService
from server.tasks.watching import Queued, TaskNews, TaskWatch
from tests.fakes import FakeWorker
from tests.server.jobs.common import until
from tests.server.tasks.common import SPEC

FIRST, SECOND, THIRD = (replace(SPEC, task_id=name, wait=False) for name in ("first", "second", "third"))


@pytest.fixture
def watch(queue: JobQueue) -> TaskWatch:
    return TaskWatch(queue)


async def send(service: TaskService, spec: object = FIRST) -> None:
    async for _ in service.run(spec, listens=False, gone=asyncio.Event()):  # type: ignore[arg-type]
        pass


async def rest(news: AsyncIterator[TaskNews]) -> list[TaskNews]:
    return [each async for each in news]


async def test_a_task_from_its_place_in_the_queue_to_its_end(
    service: TaskService, watch: TaskWatch, worker: FakeWorker
) -> None:
    worker.hold()
    for spec in (FIRST, SECOND, THIRD):
        await send(service, spec)
    await until(worker.held.is_set)
    news = watch.follow("me", "THIRD")
    place = await anext(news)
    assert isinstance(place, Queued)
    assert (place.position, place.seconds > 0) == (1, True)
    following = asyncio.ensure_future(rest(news))
    worker.release()
    told = await following
    # Once more when only the seconds that are left have changed.
    assert {each.position for each in told if isinstance(each, Queued)} == {0}
    kinds = [type(each) for each in told if not isinstance(each, StepDone | PreviewReady | Queued)]
    assert kinds == [Begun, ResultReady, Ended]
    assert {StepDone, PreviewReady} <= {type(each) for each in told}


async def test_a_watcher_who_comes_late_is_told_how_things_stand(
    service: TaskService, watch: TaskWatch, worker: FakeWorker
) -> None:
    worker.hold(index=1)
    await send(service, replace(FIRST, count=3))
    await until(worker.held.is_set)
    news = watch.follow("me", "first")
    first, step = await anext(news), await anext(news)
    assert isinstance(first, ResultReady)
    assert isinstance(step, StepDone)
    assert (first.result.index, step.index, step.step, step.steps) == (0, 1, 1, 2)
    await news.aclose()
    again = watch.follow("me", "first", results=1)
    assert isinstance(await anext(again), StepDone)
    following = asyncio.ensure_future(rest(again))
    worker.release()
    told = await following
    assert [each.result.index for each in told if isinstance(each, ResultReady)] == [1, 2]


async def test_a_task_that_has_ended_has_its_results_and_its_end(
    service: TaskService, watch: TaskWatch, worker: FakeWorker
) -> None:
    async for _ in service.run(replace(FIRST, count=2, wait=True), listens=False, gone=asyncio.Event()):
        pass
    assert [type(each) for each in await rest(watch.follow("me", "first"))] == [ResultReady, ResultReady, Ended]
    assert [type(each) for each in await rest(watch.follow("me", "first", results=2))] == [Ended]
    assert worker.watched == []


async def test_nobody_elses_task_is_followed(service: TaskService, watch: TaskWatch, worker: FakeWorker) -> None:
    worker.hold()
    await send(service)
    for owner, task_id in (("another", "first"), ("me", "unknown")):
        with pytest.raises(NotFound):
            await anext(watch.follow(owner, task_id))
    worker.release()


async def test_it_ends_with_the_server_and_with_a_cancel(
    service: TaskService, queue: JobQueue, watch: TaskWatch, worker: FakeWorker
) -> None:
    worker.hold()
    await send(service)
    await send(service, SECOND)
    await until(worker.held.is_set)
    second = asyncio.ensure_future(rest(watch.follow("me", "second")))
    assert await service.cancel("me", "second") == "cancelled"
    last = (await second)[-1]
    assert isinstance(last, Ended)
    assert last.job.state == "cancelled"
    first = asyncio.ensure_future(rest(watch.follow("me", "first")))
    await asyncio.sleep(0)
    queue.announce_stop()
    assert not any(isinstance(each, Ended) for each in await first)
    worker.release()
