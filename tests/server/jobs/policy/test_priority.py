"""Simulations of the two priorities: who waits for whom, and that low tasks leave the shares of the others alone."""

import random
from itertools import count

import pytest

from server.jobs.policy.company import Neighbour, choose_beside, takes_more
from server.jobs.policy.fair_share import FairShare, Waiting
from server.jobs.policy.priority import PriorityShare, PriorityTurns


def equal(owner: str) -> float:
    return 1.0


def low(job_id: int, owner: str, seconds: float = 10.0) -> Waiting:
    return Waiting(job_id, owner, seconds, low=True)


def test_a_low_task_waits_for_every_other_one_of_its_own_key_too() -> None:
    share = PriorityShare(equal)
    waiting = [low(1, "a"), low(2, "b"), Waiting(3, "a", 600), Waiting(4, "a", 600)]
    order = []
    while task := share.choose(waiting):
        waiting.remove(task)
        share.begin(task)
        order.append(task.job_id)
    assert order == [3, 4, 1, 2]


def test_low_tasks_of_two_keys_take_turns() -> None:
    share, order = PriorityShare(lambda owner: 2.0 if owner == "b" else 1.0), ""
    waiting = [low(number, "a") for number in range(9)] + [low(number, "b") for number in range(9, 18)]
    for _ in range(9):
        task = share.choose(waiting)
        assert task is not None
        waiting.remove(task)
        share.begin(task)
        order += task.owner
    assert order.count("b") == 6


def test_the_order_of_normal_tasks_is_the_same_with_and_without_low_ones() -> None:
    """A key that has used idle time for low tasks is not behind others with its normal ones."""
    dice, ids = random.Random(3), count()
    with_low, alone = PriorityShare(equal), FairShare(equal)
    for _ in range(200):
        if dice.random() < 0.5:
            task = low(next(ids), dice.choice("ab"), dice.uniform(1, 99))
            assert with_low.choose([task]) == task
            with_low.begin(task)
            with_low.end(task, dice.uniform(1, 99))
        waiting = [Waiting(next(ids), owner, dice.uniform(1, 99)) for owner in "abc"]
        chosen = alone.choose(waiting)
        assert with_low.choose([*waiting, low(next(ids), "d")]) == chosen
        assert chosen is not None
        for share in (with_low, alone):
            share.begin(chosen)
            share.end(chosen, 2 * chosen.seconds)


def test_trying_out_changes_nothing() -> None:
    share = PriorityShare(equal)
    share.begin(low(1, "a"))
    share.copy().begin(low(2, "b", 99))
    assert share.choose([low(3, "a"), low(4, "b")]) == low(4, "b")


class TestGivingWay:
    """Between two images of a task."""

    def share(self, task: Waiting) -> PriorityShare:
        share = PriorityShare(equal)
        share.begin(task)
        return share

    @pytest.mark.parametrize("owner", ["a", "b"])
    def test_a_low_task_gives_way_to_every_other_one(self, owner: str) -> None:
        other = Waiting(2, owner, 600)
        assert self.share(low(1, "a")).gives_way(low(1, "a"), 0.0, 99.0, [low(3, "b", 1), other]) == other

    def test_low_tasks_give_way_as_others_do(self) -> None:
        task = low(1, "a", 600)
        assert self.share(task).gives_way(task, 60, 540, [low(2, "b")]) == low(2, "b")
        assert self.share(task).gives_way(task, 60, 540, [low(2, "a")]) is None

    def test_a_normal_task_never_gives_way_to_a_low_one(self) -> None:
        task = Waiting(1, "a", 600)
        assert self.share(task).gives_way(task, 599, 540, [low(2, "b", 0.1)]) is None


class TestBesideOthers:
    """At a worker that has tasks already."""

    def chosen(self, waiting: list[Waiting], *neighbours: Neighbour) -> Waiting | None:
        return choose_beside(PriorityShare(equal), waiting, neighbours)

    def test_any_task_joins_a_low_one(self) -> None:
        neighbour = Neighbour(1, "a", 600, low=True)
        for owner in "ab":
            assert self.chosen([Waiting(2, owner, 600)], neighbour) == Waiting(2, owner, 600)

    def test_a_low_one_takes_no_place(self) -> None:
        assert takes_more([Neighbour(1, "a", 600, low=True)], 1)
        assert not takes_more([Neighbour(1, "a", 600, low=True), Neighbour(2, "b", 600)], 1)

    def test_a_low_one_takes_a_place_from_other_low_ones(self) -> None:
        neighbour = Neighbour(1, "a", 0.5, low=True)
        assert not takes_more([neighbour], 1, low=True)
        assert takes_more([neighbour], 2, low=True)
        assert choose_beside(PriorityShare(equal), [low(2, "b")], [neighbour], takes_low=False) is None
        assert choose_beside(PriorityShare(equal), [low(2, "b")], [], takes_low=False) == low(2, "b")

    def test_a_low_one_joins_nobody_who_has_steps_left(self) -> None:
        assert self.chosen([low(2, "b")], Neighbour(1, "a", 0.5)) is None
        assert self.chosen([low(2, "b")], Neighbour(1, "a", 600, low=True)) is None
        assert self.chosen([low(2, "b")], Neighbour(1, "a", 0.5, low=True)) == low(2, "b")
        assert self.chosen([low(2, "b")], Neighbour(1, "a", 0.0)) == low(2, "b")

    def test_a_low_one_never_comes_before_one_that_cannot_join(self) -> None:
        waiting = [Waiting(2, "a", 600), low(3, "a", 1), low(4, "b", 1)]
        assert self.chosen(waiting, Neighbour(1, "a", 600)) is None


def test_the_steps_of_low_jobs_wait_for_those_of_all_others() -> None:
    turns, order = PriorityTurns(), ""
    turns.add(1, "a", 1.0, 6.0, low=True)
    left = {1: 6}
    for now in range(12):
        if now == 2:
            left |= {2: 3, 3: 3}
            turns.add(2, "a", 1.0, 3.0)
            turns.add(3, "b", 1.0, 3.0)
        job_id = turns.choose(left)
        assert job_id is not None
        order += str(job_id)
        turns.charge(job_id, 1.0)
        left[job_id] -= 1
        if not left[job_id]:
            del left[job_id]
            turns.remove(job_id)
    assert order == "112323231111"
    assert turns.choose([]) is None


def test_normal_tasks_wait_no_longer_for_a_stream_of_low_ones() -> None:
    """One worker with one place. Low tasks of a minute always wait, and each normal one has its steps at once."""
    share, now, waits = PriorityShare(equal), 0.0, list[float]()
    running, sent = [low(0, "a", 60.0)], 7.3
    share.begin(running[0])
    for number in range(1, 200):
        neighbours = [Neighbour(task.job_id, task.owner, 60.0, low=True) for task in running]
        waiting = [low(1000 + number, "a", 60.0)]
        if sent <= now:
            waiting.append(Waiting(number, "a", 5.0))
        task = choose_beside(share, waiting, neighbours)
        if task is not None and not task.low:
            share.begin(task)
            waits.append(now - sent)
            now += 5
            share.end(task, 5)
            sent = now + 7.3
        else:
            now += 1.0  # a step of the low one
    assert len(waits) > 10
    assert max(waits) <= 1.0
