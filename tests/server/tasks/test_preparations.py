"""Tasks whose pictures are fetched after their acceptance. `test_submit` accepts them."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest
from pydantic import ValidationError

from server.errors import InternalServerError, InvalidParameter, TaskRejected, ValueTooLarge
from server.jobs.events import Ended
from server.jobs.job import Job
from server.jobs.queue import JobQueue
from server.jobs.storage.rows import UNREADABLE
from server.tasks.preparations import Preparations, read_spec, spec_text
from server.tasks.spec import TaskSpec
from tests.server.jobs.common import submission, until
from tests.server.tasks.common import CATALOG, SPEC

WORK = replace(submission(), owner="me", task_uuid=SPEC.task_id, image_uuids=())


async def accept(queue: JobQueue, text: str | None = None) -> Job:
    return await queue.accept_unprepared(WORK, spec_text(SPEC) if text is None else text)


async def end_of(queue: JobQueue, begin: Callable[[], None]) -> Job:
    with queue.watch(WORK.key) as events:
        begin()
        ended = await events.get()
    assert isinstance(ended, Ended)
    return ended.job


@pytest.mark.parametrize("entry", CATALOG.entries, ids=lambda entry: entry.air)
def test_a_spec_is_read_as_it_was(entry: object) -> None:
    spec = replace(SPEC, model=entry, references=("https://a.example/b.png",), picture_sides=(1, 2))
    assert read_spec(spec_text(spec)) == spec
    with pytest.raises(ValidationError):
        read_spec("{}")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (TaskRejected(InvalidParameter("image", "no picture")), "invalidImage"),
        (ValueTooLarge("too long"), "valueTooLarge"),
        (LookupError("a bug"), InternalServerError.default_code),
    ],
)
async def test_what_is_wrong_is_the_failure_of_the_task(queue: JobQueue, error: Exception, code: str) -> None:
    async def prepare(spec: TaskSpec) -> None:
        raise error

    await accept(queue)
    ended = await end_of(queue, lambda: Preparations(queue, prepare).begin(SPEC))
    assert (ended.state, ended.failure and ended.failure.code) == ("failed", code)


async def test_the_next_start_goes_on(queue: JobQueue) -> None:
    prepared: list[TaskSpec] = []

    async def wait(spec: TaskSpec) -> None:
        prepared.append(spec)
        await asyncio.Event().wait()

    await accept(queue)
    for _ in range(2):
        preparations = Preparations(queue, wait)
        await preparations.open()
        await until(lambda: bool(prepared))
        await preparations.close()
        assert prepared.pop() == SPEC


async def test_a_spec_of_another_version_fails_its_task(queue: JobQueue) -> None:
    async def prepare(spec: TaskSpec) -> None:
        raise AssertionError("prepared")

    job = await accept(queue, "{}")
    await Preparations(queue, prepare).open()
    found = await queue.find(*job.submission.key)
    assert found is not None
    assert found.failure == UNREADABLE


async def test_a_task_is_left_when_it_is_stopped_or_sent_again(queue: JobQueue) -> None:
    begun: list[TaskSpec] = []
    left: list[TaskSpec] = []

    async def prepare(spec: TaskSpec) -> None:
        begun.append(spec)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            left.append(spec)
            raise

    preparations = Preparations(queue, prepare)
    later = replace(SPEC, prompt="later")
    for spec in (SPEC, later):
        preparations.begin(spec)
        await until(lambda spec=spec: spec in begun)
    assert left == [SPEC]
    preparations.stop(WORK.key)
    await until(lambda: left == [SPEC, later])
