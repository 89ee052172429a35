import asyncio
import time
from collections import Counter
from dataclasses import replace

import pytest

from server.errors import RateLimitExceeded
from server.jobs.policy.admission import QueueBounds
from server.jobs.policy.company import Neighbour
from server.jobs.policy.fair_share import Waiting
from server.jobs.scheduler import Busy, Scheduler
from server.jobs.storage.store import JobStore
from server.keys.api_key import NO_LIMITS, KeyLimits
from tests.server.jobs.common import submission


class Box:
    """A scheduler over a store. `limits` are those of each owner, `workers` what the workers do."""

    def __init__(self, store: JobStore, bounds: QueueBounds) -> None:
        self.store = store
        self.limits: dict[str, KeyLimits] = {}
        self.workers: list[Busy] = [Busy()]
        self.scheduler = Scheduler(store, bounds, lambda owner: self.limits.get(owner, NO_LIMITS), lambda: self.workers)
        self.count = 0

    async def send(self, owner: str, seconds: float = 1.0, *, low: bool = False, model: str = "a:1@1") -> None:
        self.count += 1
        work = submission(self.count)
        work = replace(
            work, owner=owner, priority="low" if low else "normal", request=replace(work.request, model=model)
        )
        async with self.scheduler.place(owner, seconds, low=low):
            await self.store.accept(work, estimate=seconds)

    async def refused(self, owner: str, seconds: float = 1.0, *, low: bool = False) -> int:
        """The seconds after which a refused task may come again."""
        with pytest.raises(RateLimitExceeded) as caught:
            await self.send(owner, seconds, low=low)
        assert caught.value.retry_after is not None
        return caught.value.retry_after


@pytest.fixture
def box(store: JobStore) -> Box:
    return Box(store, QueueBounds(tasks=5, seconds=100, key_tasks=3))


async def test_keys_take_turns_by_weight(box: Box) -> None:
    box.scheduler = Scheduler(
        box.store, QueueBounds(100, 1e6), lambda owner: KeyLimits(weight=2 if owner == "b" else 1), lambda: box.workers
    )
    for owner in ("a", "b"):
        for _ in range(9):
            await box.send(owner, 10)
    order = [job for _ in range(9) if (job := await box.scheduler.claim())]
    assert Counter(job.submission.owner for job in order) == {"a": 3, "b": 6}


async def test_a_job_that_was_quick_is_charged_what_it_took(box: Box) -> None:
    await box.send("a", 50)
    await box.send("b", 1)
    first, second = await box.scheduler.claim(), await box.scheduler.claim()
    assert first is not None
    assert second is not None
    box.scheduler.release(first, 0.0)  # at once: it was cancelled
    await box.send("b", 1)
    await box.send("a", 1)
    third = await box.scheduler.claim()
    assert third is not None
    assert third.submission.owner == "a"


async def test_bounds_of_all_and_of_a_key(box: Box) -> None:
    box.workers = [Busy((("c", 7.2),))]
    for _ in range(3):
        await box.send("a", 2)
    assert await box.refused("a") == 8
    for _ in range(2):
        await box.send("b", 2)
    assert await box.refused("c") == 8
    await box.scheduler.claim()
    await box.send("c", 10)


async def test_a_place_counts_until_its_task_has_joined_or_failed(box: Box) -> None:
    async with box.scheduler.place("a", 90):
        assert await box.refused("b", 20) == 1
        await box.send("b", 5)
    await box.send("b", 20)


async def test_concurrency_counts_what_waits_and_what_runs(box: Box) -> None:
    box.limits["a"] = KeyLimits(concurrency=2)
    box.workers = [Busy((("a", 3.5),)), Busy((("b", 60),))]
    await box.send("a", 10)
    assert await box.refused("a") == 4
    box.workers = [Busy((("b", 3.5),)), Busy((("b", 60),))]
    await box.send("a", 10)


async def test_a_rate_is_of_the_last_minute(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    box.limits["a"] = KeyLimits(rate=2)
    now = time.time()
    for ago in (70, 50, 5):
        monkeypatch.setattr(time, "time", lambda ago=ago: now - ago)
        await box.send("a")
    monkeypatch.setattr(time, "time", lambda: now)
    await box.scheduler.claim()
    await box.scheduler.claim()
    assert await box.refused("a") == 10
    await box.send("b")


async def test_turns_are_foreseen(box: Box) -> None:
    box.workers = [Busy((("c", 5),))]
    await box.send("a", 10)
    await box.send("b", 20)
    assert [(turn.task.owner, turn.position, turn.begins, turn.ends) for turn in await box.scheduler.turns()] == [
        ("a", 0, 5, 15),
        ("b", 1, 15, 35),
    ]


async def test_all_who_ask_at_the_same_time_share_one_forecast(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    await box.send("a", 10)
    reads, waiting = [], JobStore.waiting

    async def count(store: JobStore) -> tuple[Waiting, ...]:
        reads.append(1)
        return await waiting(store)

    monkeypatch.setattr(JobStore, "waiting", count)
    first, *others = await asyncio.gather(*(box.scheduler.turns() for _ in range(20)))
    assert (len(first), len(reads)) == (1, 1)
    assert all(other is first for other in others)
    await box.send("a", 10)
    assert len(await box.scheduler.turns()) == 2


async def test_who_asks_after_a_change_sees_it(box: Box) -> None:
    early = asyncio.create_task(box.scheduler.turns())
    await asyncio.sleep(0)  # it is scheduled, and begins in the next turn of the loop
    await asyncio.sleep(0)
    await box.send("a", 10)
    assert len(await box.scheduler.turns()) == 1
    await early


async def test_a_job_of_low_priority_waits_for_all_others_and_is_foreseen_so(box: Box) -> None:
    box.workers = [Busy((("c", 5.0),), (("d", 3.0),))]
    await box.send("a", 10, low=True)
    await box.send("b", 20)
    assert [(turn.task.owner, turn.begins) for turn in await box.scheduler.turns()] == [("b", 5), ("a", 28)]
    first, second = await box.scheduler.claim(), await box.scheduler.claim()
    assert [job.submission.owner for job in (first, second) if job is not None] == ["b", "a"]


async def test_a_job_of_another_model_joins_one_of_low_priority(box: Box) -> None:
    await box.send("a", low=True)
    low = await box.scheduler.claim()
    assert low is not None
    await box.send("a", model="b:1@1")
    neighbours = [Neighbour(low.id, "a", 60.0, low=True)]
    joined = await box.scheduler.claim(neighbours)
    assert joined is not None
    assert await box.scheduler.gives_way(low, 1.0, 60.0) is False
    await box.send("a", model="b:1@1")
    assert await box.scheduler.gives_way(low, 1.0, 60.0)


async def test_low_jobs_leave_the_places_to_others(box: Box) -> None:
    for _ in range(3):
        await box.send("a", low=True)
    assert await box.refused("a", low=True) == 1
    await box.send("a")
