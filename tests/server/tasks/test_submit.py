"""The life of a task, behind any dialect."""

import asyncio
import base64
from dataclasses import replace

import pytest

from server.errors import ConflictTaskUUID, Failure, RateLimitExceeded, ServiceUnavailable, TaskCancelled, TaskRejected
from server.jobs.events import Ended, ResultReady
from server.jobs.job import CANCELLED
from server.jobs.queue import JobQueue
from server.media.inputs import InputImages
from server.tasks.spec import TaskSpec
from server.tasks.submit import Accepted, TaskEvent, TaskService
from tests.fakes import FakeWorker, picture
from tests.server.conftest import Downloads
from tests.server.jobs.common import ended
from tests.server.tasks.common import EDIT, SPEC

URL = "https://example.com/a.png"
INLINE = "data:image/png;base64," + base64.b64encode(picture(700, 300)).decode()


async def events(service: TaskService, spec: TaskSpec = SPEC, *, listens: bool = False) -> list[TaskEvent]:
    return [event async for event in service.run(spec, listens=listens, gone=asyncio.Event())]


@pytest.mark.parametrize("wait", [True, False])
@pytest.mark.parametrize("listens", [True, False])
async def test_events_come_to_a_client_that_waits_or_listens(service: TaskService, wait: bool, listens: bool) -> None:
    told = await events(service, replace(SPEC, wait=wait, count=2), listens=listens)
    followed = [ResultReady, ResultReady, Ended] if wait or listens else []
    assert [type(event) for event in told] == [Accepted, *followed]


async def test_what_is_kept_of_a_task(service: TaskService) -> None:
    task = {"prompt": "a", "inputs": {"images": [INLINE, "short"]}, "count": 1}
    spec = replace(SPEC, task=task, model=EDIT, references=(INLINE,), warnings=("one",), width=None, height=None)
    accepted, *_ = await events(service, replace(spec, count=2))
    work = accepted.job.submission
    (reference,) = work.request.references
    assert work.task == {"prompt": "a", "inputs": {"images": [reference.path.stem, "short"]}, "count": 1}
    assert (work.ttl, work.encoding, work.warnings, len(set(work.image_uuids))) == (99, SPEC.encoding, ("one",), 2)
    accepted, *_ = await events(service, replace(spec, task_id="other", ttl=60))
    assert accepted.job.submission.ttl == 60


async def test_an_id_that_is_taken_is_refused_before_any_picture_is_fetched(
    service: TaskService, monkeypatch: pytest.MonkeyPatch
) -> None:
    await events(service)

    async def resolve(*arguments: object, **options: object) -> None:
        raise AssertionError("fetched")

    monkeypatch.setattr(InputImages, "resolve", resolve)
    with pytest.raises(ConflictTaskUUID):
        await events(service, replace(SPEC, references=(INLINE,)))


async def test_a_full_queue_refuses_before_any_picture_is_fetched(
    service: TaskService, queue: JobQueue, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.hold()
    for number in range(10):  # one runs, and nine wait
        await events(service, replace(SPEC, task_id=f"task {number}", wait=False))
        if not number:
            await asyncio.to_thread(worker.held.wait)

    async def resolve(*arguments: object, **options: object) -> None:
        raise AssertionError("fetched")

    monkeypatch.setattr(InputImages, "resolve", resolve)
    with pytest.raises(RateLimitExceeded, match="9 tasks wait") as refused:
        await events(service, replace(SPEC, model=EDIT, width=None, height=None, references=(INLINE,)))
    assert refused.value.retry_after is not None
    worker.release()


async def test_all_pictures_that_cannot_be_used_are_named(service: TaskService) -> None:
    spec = replace(SPEC, model=EDIT, references=("/a.png", INLINE, "bm8="), parameters={"references[0]": "image"})
    with pytest.raises(TaskRejected) as refused:
        await events(service, spec)
    assert [error.parameter for error in refused.value.errors] == ["image", "references[2]"]


async def test_a_picture_of_a_wrong_size_is_refused(service: TaskService) -> None:
    spec = replace(SPEC, seed_image=INLINE, mask="data:image/png;base64," + base64.b64encode(picture(9, 9)).decode())
    with pytest.raises(TaskRejected, match="the same aspect"):
        await events(service, spec)


async def test_a_bug_while_pictures_are_fetched_is_no_refusal(
    service: TaskService, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def resolve(*arguments: object, **options: object) -> None:
        raise LookupError("a bug")

    monkeypatch.setattr(InputImages, "resolve", resolve)
    with pytest.raises(LookupError):
        await events(service, replace(SPEC, references=(INLINE,)))


async def test_a_failure_is_told_whole_and_the_task_may_be_sent_again(service: TaskService, worker: FakeWorker) -> None:
    worker.fail = Failure("invalidModel", "it does not fit", 400, "loras[0]")
    *_, ended = await events(service)
    assert ended.job.failure == worker.fail
    worker.fail = None
    *_, ended = await events(service)
    assert ended.job.state == "done"


@pytest.mark.parametrize("listens", [True, False])
async def test_a_server_that_stops_says_so_to_a_client_that_waits(
    service: TaskService, queue: JobQueue, worker: FakeWorker, listens: bool
) -> None:
    worker.hold()
    running = service.run(SPEC, listens=listens, gone=asyncio.Event())
    assert isinstance(await anext(running), Accepted)
    queue.announce_stop()
    with pytest.raises(StopAsyncIteration if listens else ServiceUnavailable):
        await anext(running)


@pytest.mark.parametrize("wait", [True, False])
async def test_a_waiting_task_is_given_up_only_when_nobody_waits_for_it_any_more(
    service: TaskService, worker: FakeWorker, wait: bool
) -> None:
    worker.hold()
    gone = asyncio.Event()
    first = service.run(replace(SPEC, task_id="first"), listens=True, gone=asyncio.Event())
    assert isinstance(await anext(first), Accepted)
    await asyncio.to_thread(worker.held.wait)
    waiting = service.run(replace(SPEC, wait=wait), listens=True, gone=gone)
    assert isinstance(await anext(waiting), Accepted)
    gone.set()
    following = asyncio.ensure_future(anext(waiting))
    if wait:
        event = await following
        assert isinstance(event, Ended)
        assert event.job.state == "cancelled"
    worker.release()
    assert wait or isinstance(await following, ResultReady)


async def test_a_task_is_cancelled_while_its_pictures_are_fetched(
    service: TaskService, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetching = asyncio.Event()

    async def resolve(*arguments: object, **options: object) -> None:
        fetching.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(InputImages, "resolve", resolve)
    running = asyncio.create_task(events(service, replace(SPEC, model=EDIT, references=(INLINE,))))
    await fetching.wait()
    assert await service.cancel("another", SPEC.task_id) == "unknown"
    assert await service.cancel("me", SPEC.task_id) == "cancelled"
    with pytest.raises(TaskCancelled):
        await running
    assert await service.cancel("me", SPEC.task_id) == "unknown"


async def test_a_task_is_accepted_before_its_pictures_are_downloaded(
    service: TaskService, queue: JobQueue, downloads: Downloads
) -> None:
    task = {"images": [INLINE, URL]}
    spec = replace(SPEC, wait=False, model=EDIT, task=task, references=(INLINE, URL), width=None, height=None)
    with queue.watch(("me", SPEC.task_id)) as told:
        job = await service.accept_early(spec)
        assert (job.state, job.submission.image_uuids, downloads.ended) == ("queued", (), 0)
        assert job.submission.task["images"][1] == URL
        assert len(job.submission.task["images"][0]) == 36
        downloads.go.set()
        done = await ended(told)
    assert (done.state, [(r.width, r.height) for r in done.submission.request.references]) == (
        "done",
        [(700, 300), (480, 400)],
    )
    await service.close()


async def test_what_is_in_an_early_task_itself_is_refused_at_once(service: TaskService, downloads: Downloads) -> None:
    with pytest.raises(TaskRejected, match=r"references\[1\]"):
        await service.accept_early(replace(SPEC, model=EDIT, references=(URL, "/a.png")))
    with pytest.raises(TaskRejected, match="mask"):
        await service.accept_early(replace(SPEC, seed_image=INLINE, mask="no picture"))
    assert await service.cancel("me", SPEC.task_id) == "unknown"


async def test_a_task_that_failed_for_its_pictures_is_accepted_again(
    service: TaskService, queue: JobQueue, downloads: Downloads
) -> None:
    downloads.go.set()
    data, downloads.data = downloads.data, b"no picture"
    with queue.watch(("me", SPEC.task_id)) as told:
        await service.accept_early(replace(SPEC, model=EDIT, references=(URL,), parameters={"references[0]": "image"}))
        failed = await ended(told)
        assert failed.failure is not None
        assert (failed.failure.code, "'image'" in failed.failure.message) == ("invalidImage", True)
        downloads.data = data
        assert await service.accept_again(failed) is not None
        done = await ended(told)
    assert done.state == "done"
    assert await service.accept_again(done) is None


async def test_an_early_task_is_cancelled_during_its_downloads(service: TaskService, downloads: Downloads) -> None:
    await service.accept_early(replace(SPEC, model=EDIT, references=(URL,)))
    assert await service.cancel("me", SPEC.task_id) == "cancelled"
    assert await service.cancel("me", SPEC.task_id) == "ended"


async def test_a_cancelled_task_tells_its_client_keeps_its_images_and_may_be_sent_again(
    service: TaskService, worker: FakeWorker
) -> None:
    worker.hold(index=1)
    running = asyncio.create_task(events(service, replace(SPEC, count=3)))
    await asyncio.to_thread(worker.held.wait)
    assert await service.cancel("me", SPEC.task_id.upper()) == "cancelled"
    *_, image, end = await running
    assert isinstance(image, ResultReady)
    assert isinstance(end, Ended)
    assert (end.job.state, end.job.failure, end.job.results) == ("cancelled", CANCELLED, (image.result,))
    assert await service.cancel("me", SPEC.task_id) == "ended"
    worker.release()
    *_, end = await events(service)
    assert end.job.state == "done"
    assert await service.cancel("me", SPEC.task_id) == "ended"
