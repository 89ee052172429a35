"""A worker that takes more than one job."""

import asyncio
from dataclasses import replace

import pytest

from pipelines.batching import BatchGain, BatchGains
from server.jobs.estimates import Measured
from server.jobs.job import Job
from server.jobs.timing.silence import SilenceLimits
from server.jobs.timing.step_times import StepTimes
from server.jobs.workers.messages import Progress
from server.media.store import MediaStore
from server.options.sharing import ALONE, Sharing
from tests.fakes import FakeWorker
from tests.server.jobs.common import submission, until
from tests.server.jobs.supervision.supervised import Supervised, WatchedStore, fails_once


@pytest.fixture
def worker() -> FakeWorker:
    worker = FakeWorker()
    worker.sharing = Sharing(overlap=True, renders=2)
    return worker


async def begin(supervised: Supervised, worker: FakeWorker, *owners: str) -> list[asyncio.Task[Job]]:
    """A long job of each owner, all of them at the worker; the last ones wait."""
    worker.hold()
    works = [replace(submission(number), owner=owner) for number, owner in enumerate(owners)]
    works = [replace(work, request=replace(work.request, steps=40)) for work in works]
    supervised.times.estimates.learn(works[0].request, Measured(60.0, 1.0))
    tasks = []
    for number, work in enumerate(works):
        tasks.append(asyncio.create_task(supervised.render(work)))
        await until(lambda number=number: len(supervised.seen) > number)
    return tasks


async def test_jobs_of_two_keys_are_rendered_together(supervised: Supervised, worker: FakeWorker) -> None:
    tasks = await begin(supervised, worker, "a", "b", "c")
    await until(lambda: len(worker.jobs) == 2)
    assert [each.job.submission.owner for each in supervised.supervisor.renderings] == ["a", "b"]
    assert [(job.owner, job.weight) for job in worker.jobs] == [("a", 1.0), ("b", 1.0)]
    worker.release()
    assert {(await task).state for task in tasks} == {"done"}
    assert len(worker.jobs) == 3


async def test_jobs_of_one_key_wait_for_each_other_unless_one_is_short(
    supervised: Supervised, worker: FakeWorker
) -> None:
    tasks = await begin(supervised, worker, "a", "a")
    await until(worker.held.is_set)
    short = replace(submission(8), owner="a", request=replace(submission(8).request, steps=1))
    tasks.append(asyncio.create_task(supervised.render(short)))
    await until(lambda: len(worker.jobs) == 2)
    assert [job.request.steps for job in worker.jobs] == [40, 1]
    worker.release()
    assert {(await task).state for task in tasks} == {"done"}


def measured(images: int) -> BatchGains:
    """So many images of the jobs here are faster together."""
    request = submission().request
    gain = BatchGain(request.model, 256, 256, images, 1.0, 0.0, joined=2.0, references=1)
    return BatchGains("fake device", "2.13", (gain,))


@pytest.mark.parametrize("sharing", [ALONE, Sharing(overlap=True, renders=2)])
async def test_as_many_jobs_as_are_faster_together_are_at_the_worker(
    supervised: Supervised, worker: FakeWorker, sharing: Sharing
) -> None:
    worker.sharing, worker.gains = sharing, measured(3)
    tasks = await begin(supervised, worker, *"aaaa")
    await until(lambda: len(worker.jobs) == 3)
    assert [each.job.submission.owner for each in supervised.supervisor.renderings] == ["a"] * 3
    worker.release()
    assert {(await task).state for task in tasks} == {"done"}
    assert len(worker.jobs) == 4


async def test_a_job_joins_as_soon_as_another_one_has_its_last_step(supervised: Supervised, worker: FakeWorker) -> None:
    worker.gains = measured(2)
    tasks = await begin(supervised, worker, *"aa")
    await until(lambda: len(worker.jobs) == 2)
    work = replace(submission(9), owner="a")
    work = replace(work, request=replace(work.request, steps=40))
    tasks.append(asyncio.create_task(supervised.render(work)))
    await until(lambda: len(supervised.seen) == 3)
    first = supervised.supervisor.renderings[0]
    first.progress = Progress(first.job.id, 1, 40, 40)  # it is decoded now
    supervised.supervisor._hear()
    await until(lambda: len(worker.jobs) == 3)
    worker.release()
    assert {(await task).state for task in tasks} == {"done"}


async def test_a_job_of_another_shape_joins_no_batch_and_is_not_passed_by(
    supervised: Supervised, worker: FakeWorker, store: WatchedStore
) -> None:
    worker.gains = measured(4)
    tasks = await begin(supervised, worker, *"aa")
    await until(lambda: len(worker.jobs) == 2)
    narrow = replace(submission(8), owner="a")
    narrow = replace(narrow, request=replace(narrow.request, steps=40, width=64))
    tasks.append(asyncio.create_task(supervised.render(narrow)))
    await until(lambda: len(supervised.seen) == 3)
    store.idle.clear()
    wide = replace(submission(9), owner="a")
    wide = replace(wide, request=replace(wide.request, steps=40))
    tasks.append(asyncio.create_task(supervised.render(wide)))
    await until(lambda: len(supervised.seen) == 4)
    await store.idle.wait()
    assert len(worker.jobs) == 2
    worker.release()
    assert {(await task).state for task in tasks} == {"done"}


async def test_jobs_of_other_models_wait(supervised: Supervised, worker: FakeWorker) -> None:
    tasks = await begin(supervised, worker, "a")
    await until(worker.held.is_set)
    for number, model in enumerate(("other:1@1", submission().request.model.upper()), 7):
        work = replace(submission(number), owner="b", request=replace(submission(number).request, model=model))
        tasks.append(asyncio.create_task(supervised.render(work)))
        await until(lambda number=number: len(supervised.seen) > number - 6)
    assert len(worker.jobs) == 1  # nobody passes by the one that is next
    worker.release()
    assert {(await task).state for task in tasks} == {"done"}


async def test_a_cancel_ends_one_of_them(supervised: Supervised, worker: FakeWorker) -> None:
    first, second = await begin(supervised, worker, "a", "b")
    await until(lambda: len(supervised.supervisor.renderings) == 2)
    supervised.supervisor.renderings[0].cancel()
    assert (await first).state == "cancelled"
    worker.release()
    assert (await second).state == "done"


async def test_a_worker_that_dies_with_two_jobs_costs_none_of_them(supervised: Supervised, worker: FakeWorker) -> None:
    tasks = await begin(supervised, worker, "a", "b")
    await until(lambda: len(worker.jobs) == 2)
    worker.end_now()
    await until(lambda: worker.starts == 2 and len(worker.jobs) == 3)
    assert [(job.alone, job.owner) for job in worker.jobs[2:]] == [(True, "a")]
    worker.release()
    assert {(await task).state for task in tasks} == {"done"}
    assert [job.alone for job in worker.jobs[2:]] == [True, True]


async def test_a_job_that_ends_its_worker_alone_too_fails_and_the_other_one_does_not(
    supervised: Supervised, worker: FakeWorker
) -> None:
    first, second = await begin(supervised, worker, "a", "b")
    await until(lambda: len(worker.jobs) == 2)
    worker.end_now()
    await until(lambda: len(worker.jobs) == 3)
    worker.end_now()
    assert (await first).state == "failed"
    worker.release()
    assert (await second).state == "done"


async def test_a_result_that_cannot_be_recorded_fails_its_job_only(
    supervised: Supervised, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = await begin(supervised, worker, "a", "b")
    await until(lambda: len(worker.jobs) == 2)
    fails_once(monkeypatch, "add_result")
    worker.release()
    assert sorted([(await task).state for task in tasks]) == ["done", "failed"]
    assert worker.starts == 1


async def test_silence_is_that_of_the_worker(
    worker: FakeWorker, store: WatchedStore, media: MediaStore, times: StepTimes
) -> None:
    supervised = Supervised(worker, store, media, times, SilenceLimits(least=0.05, loading=60.0))
    times.estimates.learn(submission().request, Measured(1e-6, 1e-6))
    await store.idle.wait()
    worker.silent = True
    tasks = [
        asyncio.create_task(supervised.render(replace(submission(number), owner=owner)))
        for number, owner in enumerate("ab")
    ]
    await until(lambda: worker.killed == 1)
    assert {(await task).state for task in tasks} == {"done"}  # each of them alone
    supervised.task.cancel()


@pytest.mark.parametrize(("sharing", "most"), [(ALONE, 1), (Sharing(overlap=True, renders=2), 2)])
async def test_short_jobs_of_low_priority_wait_in_the_queue(
    supervised: Supervised, worker: FakeWorker, store: WatchedStore, sharing: Sharing, most: int
) -> None:
    """The worker was given all of them at once, so that those of other keys came after the last."""
    worker.sharing = sharing
    worker.hold()
    works = [replace(submission(number), owner=f"key {number}", priority="low") for number in range(5)]
    supervised.times.estimates.learn(works[0].request, Measured(1e-3, 1e-3))
    tasks = [asyncio.create_task(supervised.render(work)) for work in works]
    await until(lambda: len(supervised.seen) == len(works) and worker.held.is_set())
    store.idle.clear()
    supervised.supervisor.wake()
    await store.idle.wait()
    assert len(worker.jobs) == most
    worker.release()
    assert {(await task).state for task in tasks} == {"done"}
