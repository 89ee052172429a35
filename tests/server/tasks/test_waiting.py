import asyncio
from dataclasses import replace

from server.jobs.queue import JobQueue
from server.tasks.submit import TaskService
from server.tasks.waiting import accept, wait_for_end
from tests.fakes import FakeWorker
from tests.server.tasks.common import SPEC

FOREVER = 600.0
QUEUED = replace(SPEC, wait=False)


async def test_a_task_is_accepted_at_once_and_waited_for(
    queue: JobQueue, service: TaskService, worker: FakeWorker
) -> None:
    worker.hold()
    job = await accept(service, QUEUED)
    assert not job.ended
    waiting = asyncio.create_task(wait_for_end(queue, SPEC.owner, SPEC.task_id.upper(), FOREVER))
    await asyncio.to_thread(worker.held.wait)
    assert not waiting.done()
    worker.release()
    ended = await waiting
    assert ended is not None
    assert (ended.id, ended.state, len(ended.results)) == (job.id, "done", 1)
    assert await wait_for_end(queue, SPEC.owner, SPEC.task_id, FOREVER) == ended


async def test_the_wait_ends_and_the_task_goes_on(queue: JobQueue, service: TaskService, worker: FakeWorker) -> None:
    worker.hold()
    await accept(service, QUEUED)
    job = await wait_for_end(queue, SPEC.owner, SPEC.task_id, 0)
    assert job is not None
    assert not job.ended
    waiting = asyncio.create_task(wait_for_end(queue, SPEC.owner, SPEC.task_id, FOREVER))
    await asyncio.to_thread(worker.held.wait)
    queue.announce_stop()
    stopped = await waiting
    assert stopped is not None
    assert stopped.state == "running"


async def test_the_wait_ends_with_its_client(queue: JobQueue, service: TaskService, worker: FakeWorker) -> None:
    worker.hold()
    await accept(service, QUEUED)
    gone = asyncio.Event()
    waiting = asyncio.create_task(wait_for_end(queue, SPEC.owner, SPEC.task_id, FOREVER, gone))
    await asyncio.to_thread(worker.held.wait)
    assert not waiting.done()
    gone.set()
    job = await waiting
    assert job is not None
    assert job.state == "running"


async def test_of_an_unknown_task(queue: JobQueue) -> None:
    assert await wait_for_end(queue, "", "none", FOREVER) is None
