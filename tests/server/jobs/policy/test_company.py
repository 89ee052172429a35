"""Simulations of the policy: which task joins those that a worker has."""

from dataclasses import replace

import pytest

from pipelines.batching import BatchShape
from server.jobs.policy.batches import GOES_ALONE, Member
from server.jobs.policy.company import (
    LEAD_SECONDS,
    Neighbour,
    choose_beside,
    ends_soon,
    joins_batch,
    shared_end,
    takes_more,
)
from server.jobs.policy.fair_share import Waiting
from server.jobs.policy.priority import PriorityShare

LONG = Neighbour(1, "a", 600.0)


def chosen(waiting: list[Waiting], *neighbours: Neighbour) -> int | None:
    share = PriorityShare(lambda owner: 1.0)
    share.begin(Waiting(1, "a", 600.0))
    found = choose_beside(share, waiting, neighbours)
    return None if found is None else found.job_id


def test_alone_the_next_one_begins() -> None:
    assert chosen([Waiting(2, "a", 600), Waiting(3, "a", 1)]) == 2
    assert chosen([]) is None


def test_another_key_joins() -> None:
    assert chosen([Waiting(2, "a", 600), Waiting(3, "b", 600)], LONG) == 3


def test_the_same_key_waits_unless_its_task_is_short() -> None:
    assert chosen([Waiting(2, "a", 600), Waiting(3, "a", 500)], LONG) is None
    assert chosen([Waiting(2, "a", 600), Waiting(3, "a", 5)], LONG) == 3
    assert chosen([Waiting(2, "a", 600)], LONG, Neighbour(5, "b", 9.0)) is None


def test_the_next_one_joins_a_task_whose_steps_end_soon() -> None:
    assert chosen([Waiting(2, "a", 600)], Neighbour(1, "a", LEAD_SECONDS)) == 2
    assert chosen([Waiting(2, "a", 600)], Neighbour(1, "a", 0.0)) == 2
    assert chosen([Waiting(2, "a", 600)], Neighbour(1, "a", 2 * LEAD_SECONDS)) is None


def test_a_task_that_was_lost_waits_for_an_empty_worker_and_nobody_comes_before_it() -> None:
    lost = Waiting(2, "b", 5.0, tried=True)
    assert chosen([lost, Waiting(3, "b", 1.0)], LONG) is None
    assert chosen([lost]) == 2


@pytest.mark.parametrize(
    ("neighbours", "most", "more"),
    [
        ([], 1, True),
        ([LONG], 1, False),
        ([LONG], 2, True),
        ([LONG, Neighbour(2, "b", 5.0)], 2, False),
        ([LONG, Neighbour(2, "b", 0.0)], 2, True),  # its steps are done
        ([Neighbour(2, "b", 0.0, tried=True)], 2, False),
    ],
)
def test_how_many_a_worker_takes(neighbours: list[Neighbour], most: int, more: bool) -> None:
    assert takes_more(neighbours, most) is more


class TestBatches:
    """Tasks of a shape whose images are faster together."""

    MEMBER = Member(BatchShape("a:1@1", 512, 512, 0, True, ()))
    LONG = replace(LONG, member=MEMBER)

    def joins(self, task: Waiting, *neighbours: Neighbour) -> bool:
        return joins_batch(task, replace(self.MEMBER, low=task.low), neighbours, lambda shape: 2)

    def test_the_next_one_joins_whatever_its_length_and_its_key(self) -> None:
        assert self.joins(Waiting(2, "a", 600), self.LONG)
        assert self.joins(Waiting(2, "b", 600), self.LONG)
        assert not self.joins(Waiting(3, "b", 600), self.LONG, self.LONG)

    def test_one_that_was_lost_goes_alone(self) -> None:
        assert not self.joins(Waiting(2, "a", 600, tried=True), self.LONG)
        assert not self.joins(Waiting(2, "a", 600), replace(self.LONG, tried=True))

    def test_nobody_joins_what_has_no_steps_left(self) -> None:
        assert not self.joins(Waiting(2, "a", 600), replace(self.LONG, left=0.0))

    def test_one_of_low_priority_joins_its_own_kind_where_no_other_has_steps(self) -> None:
        low = replace(self.LONG, low=True, member=replace(self.MEMBER, low=True))
        assert self.joins(Waiting(2, "a", 600, low=True), low)
        assert not self.joins(Waiting(2, "a", 600, low=True), low, replace(self.LONG, member=GOES_ALONE))
        assert not self.joins(Waiting(2, "a", 600), low)

    def test_a_batch_takes_one_place(self) -> None:
        assert not takes_more([self.LONG, self.LONG], 2)
        assert takes_more([self.LONG, self.LONG], 2, together=lambda shape: 2)
        assert not takes_more([self.LONG, self.LONG, LONG], 2, together=lambda shape: 2)

    def test_a_worker_may_take_those_of_one_priority_only(self) -> None:
        share = PriorityShare(lambda owner: 1.0)
        assert choose_beside(share, [Waiting(2, "b", 1)], [LONG], takes_normal=False) is None
        assert choose_beside(share, [Waiting(2, "b", 1)], [], takes_normal=False) == Waiting(2, "b", 1)


def test_steps_that_end_soon() -> None:
    assert ends_soon([])
    assert ends_soon([Neighbour(1, "a", LEAD_SECONDS), Neighbour(1, "b", 0.0)])
    assert not ends_soon([Neighbour(1, "a", 0.0), LONG])


def test_the_end_of_a_task_in_turns() -> None:
    assert shared_end(5.0, []) == 5.0
    assert shared_end(5.0, [600.0]) == 10.0
    assert shared_end(600.0, [5.0]) == 605.0


def test_a_short_task_never_waits_for_a_long_one_of_its_key() -> None:
    """One worker with two places: tasks of a minute are always waiting, and one of 5 seconds comes now and then."""
    share, now, waits = PriorityShare(lambda owner: 1.0), 0.0, list[float]()
    long_left, number = 60.0, 1
    share.begin(Waiting(number, "a", 60))
    while now < 600:
        waiting = [Waiting(number + 1, "a", 60), Waiting(number + 2, "a", 5)]
        task = choose_beside(share, waiting, [Neighbour(number, "a", long_left)])
        if task is not None and task.seconds == 5:
            share.begin(task)
            waits.append(shared_end(5, [long_left]))
            now, long_left = now + 10, long_left - 5
            share.end(task, 5)
        else:
            now, long_left = now + long_left, 60.0
            number += 3
    assert len(waits) >= 20
    assert max(waits) <= 10
