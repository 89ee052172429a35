"""Simulations of the policy: shares, order, and how long a short task waits."""

import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

import pytest

from server.jobs.policy.fair_share import FairShare, Waiting

WEIGHTS = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}
NOT_WEIGHTED = dict.fromkeys(WEIGHTS, 1.0)


def share_of(weights: dict[str, float]) -> FairShare:
    return FairShare(lambda owner: weights.get(owner, 1.0))


@dataclass
class Simulation:
    """Workers that render tasks in virtual seconds. Each client sends its next task when the one before has ended.

    Real seconds differ from the estimated ones by the factor `error`.
    """

    share: FairShare
    workers: int
    clients: list[tuple[str, Callable[[], float]]]
    error: Callable[[], float] = lambda: 1.0
    used: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    order: list[Waiting] = field(default_factory=list)

    def run(self, seconds: float) -> None:
        ids = count()
        waiting = [Waiting(next(ids), owner, draw()) for owner, draw in self.clients]
        senders = {task.job_id: client for task, client in zip(waiting, self.clients, strict=True)}
        busy: list[tuple[float, float, Waiting]] = []
        now = 0.0
        while now < seconds:
            while len(busy) < self.workers and (task := self.share.choose(waiting)):
                waiting.remove(task)
                self.share.begin(task)
                self.order.append(task)
                took = task.seconds * self.error()
                busy.append((now + took, took, task))
            ended = min(busy, key=lambda each: each[0])
            busy.remove(ended)
            now, took, task = ended
            self.share.end(task, took)
            self.used[task.owner] += took
            client = senders.pop(task.job_id)
            waiting.append(Waiting(next(ids), client[0], client[1]()))
            senders[waiting[-1].job_id] = client

    def part(self, owner: str) -> float:
        return self.used[owner] / sum(self.used.values())


@pytest.mark.parametrize("weights", [WEIGHTS, NOT_WEIGHTED])
@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("exact", [True, False])
def test_64_clients_of_4_keys_share_by_weight(weights: dict[str, float], workers: int, exact: bool) -> None:
    dice = random.Random(7)
    longest = {"a": 2, "b": 200, "c": 20, "d": 60}  # very different tasks, and the shortest for the least weight
    clients = [(owner, lambda owner=owner: dice.uniform(1, longest[owner])) for owner in WEIGHTS for _ in range(16)]
    error = (lambda: 1.0) if exact else (lambda: dice.uniform(0.4, 2.5))
    simulation = Simulation(share_of(weights), workers, clients, error)
    simulation.run(20_000)
    for owner, weight in weights.items():
        assert simulation.part(owner) == pytest.approx(weight / sum(weights.values()), rel=0.1), owner


def test_one_key_with_many_clients_gets_no_more_than_one_with_few() -> None:
    clients = [("a", lambda: 10.0)] * 60 + [("b", lambda: 10.0)] * 4
    simulation = Simulation(share_of({}), 1, clients)
    simulation.run(10_000)
    assert simulation.part("b") == pytest.approx(0.5, rel=0.02)


def test_within_a_key_first_come_is_first_served() -> None:
    share = share_of({})
    waiting = [Waiting(3, "a", 1), Waiting(1, "a", 90), Waiting(2, "a", 5)]
    order = []
    while task := share.choose(waiting):
        waiting.remove(task)
        share.begin(task)
        order.append(task.job_id)
    assert order == [1, 2, 3]


def test_a_single_key_has_all() -> None:
    simulation = Simulation(share_of({}), 2, [("a", lambda: 3.0)] * 5)
    simulation.run(300)
    assert [task.job_id for task in simulation.order] == sorted(task.job_id for task in simulation.order)
    assert simulation.used["a"] >= 2 * 300 - 2 * 3


def test_a_newcomer_is_next_and_an_idle_key_saves_up_nothing() -> None:
    share = share_of({})
    many = [Waiting(number, "a", 10) for number in range(100)]
    for task in many[:50]:
        share.begin(task)
    newcomers = [Waiting(200 + number, "b", 10) for number in range(10)]
    waiting = many[50:] + newcomers
    order = ""
    for _ in range(8):
        task = share.choose(waiting)
        assert task is not None
        waiting.remove(task)
        share.begin(task)
        order += task.owner
    assert order in ("babababa", "bbababab")


def test_an_owner_is_charged_what_it_used() -> None:
    share = share_of({})
    long, short = Waiting(1, "a", 100), Waiting(2, "b", 10)
    share.begin(long)
    share.begin(short)
    share.end(long, 1)  # it was cancelled
    assert share.choose([Waiting(3, "b", 1), Waiting(4, "a", 1)]) == Waiting(4, "a", 1)


def test_nobody_waits() -> None:
    assert share_of({}).choose([]) is None


class TestGivingWay:
    """A task of many images, after some of them."""

    LONG = Waiting(1, "a", 600)

    def share(self) -> FairShare:
        share = share_of({})
        share.begin(self.LONG)
        return share

    def test_a_newcomer_comes_between(self) -> None:
        short = Waiting(2, "b", 5)
        assert self.share().gives_way(self.LONG, 60, 540, [short]) == short

    def test_the_same_key_waits_for_its_own(self) -> None:
        assert self.share().gives_way(self.LONG, 60, 540, [Waiting(2, "a", 5)]) is None
        assert self.share().gives_way(self.LONG, 60, 540, []) is None

    def test_a_key_that_had_its_part_waits(self) -> None:
        share = self.share()
        share.begin(Waiting(2, "b", 100))
        assert share.gives_way(self.LONG, 60, 540, [Waiting(3, "b", 5)]) is None
        assert share.gives_way(self.LONG, 120, 480, [Waiting(3, "b", 5)]) == Waiting(3, "b", 5)

    def test_nothing_is_changed(self) -> None:
        share = self.share()
        assert share.gives_way(self.LONG, 60, 540, [Waiting(2, "b", 5)]) is not None
        assert share.choose([Waiting(3, "a", 1), Waiting(4, "b", 1)]) == Waiting(4, "b", 1)


def test_a_short_task_waits_for_an_image_and_not_for_a_task_of_many() -> None:
    """One worker: a key sends tasks of 20 images of 30 seconds, and another one a task of 5 seconds each time."""
    share, now, waits = share_of({}), 0.0, list[float]()
    long, images = Waiting(1, "a", 600), 20
    share.begin(long)
    sent, used = 10.0, 0.0
    while images:
        now, used, images = now + 30, used + 30, images - 1
        short = Waiting(100, "b", 5)
        if sent <= now and share.gives_way(long, used, 30.0 * images, [short]) == short:
            share.begin(short)
            waits.append(now - sent)
            now += 5
            sent = now + 10
    assert len(waits) >= 15
    assert max(waits) <= 30
