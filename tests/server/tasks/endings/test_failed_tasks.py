from typing import Any

import pytest

from server.errors import ConflictTaskUUID, Failure, InvalidParameter
from server.jobs.job import Job
from server.jobs.queue import JobQueue
from server.tasks.endings.failed_tasks import never_ran, record_failed
from tests.server.jobs.common import submission

TASK: dict[str, Any] = {"prompt": "a", "images": ["x" * 5000], "policy": {"ttl": 5}}


async def record(queue: JobQueue, task_id: str = "one") -> Job:
    error = InvalidParameter("image", "The image cannot be read.")
    return await record_failed(queue, error, owner="me", dialect="small", task_id=task_id, task=TASK)


async def test_it_is_found_as_any_other_task(queue: JobQueue) -> None:
    recorded = await record(queue)
    found = await queue.find("me", "ONE")
    assert found is not None
    assert found == recorded
    assert (found.state, found.failure) == ("failed", Failure("invalidImage", "The image cannot be read.", 400))
    assert never_ran(found)


async def test_its_watchers_hear_of_its_end(queue: JobQueue) -> None:
    with queue.watch(("me", "one")) as events:
        recorded = await record(queue)
        assert (await events.get()).job == recorded  # type: ignore[union-attr]


async def test_an_inline_picture_is_not_kept(queue: JobQueue) -> None:
    task = (await record(queue)).submission.task
    assert task["images"] == ["x" * 64 + "… (5000 characters)"]
    assert (task["prompt"], task["policy"]) == ("a", {"ttl": 5})


async def test_a_failed_task_may_be_sent_again(queue: JobQueue) -> None:
    await record(queue)
    first = await queue.submit(submission(1))
    with pytest.raises(ConflictTaskUUID):
        await record(queue, first.submission.task_uuid)
    assert (await record(queue)).failure is not None
