"""Simulations of the turns of steps: shares, order, and how long a short task waits."""

from collections import Counter

import pytest

from server.jobs.policy.step_turns import SHORT, StepTurns, is_short


class Worker:
    """Jobs in turns. `order` is the job of each step, `ended` the cost of all steps at the end of each job."""

    def __init__(self) -> None:
        self.turns = StepTurns()
        self.left: dict[int, list[float]] = {}
        self.order: list[int] = []
        self.ended: dict[int, float] = {}
        self.now = 0.0

    def add(self, job_id: int, owner: str, steps: int, cost: float = 1.0, weight: float = 1.0) -> None:
        self.left[job_id] = [cost] * steps
        self.turns.add(job_id, owner, weight, steps * cost)

    def run(self, steps: int = 10**9) -> None:
        while steps and (job_id := self.turns.choose(self.left)) is not None:
            steps -= 1
            cost = self.left[job_id].pop()
            self.now += cost
            self.order.append(job_id)
            self.turns.charge(job_id, cost)
            if not self.left[job_id]:
                del self.left[job_id]
                self.turns.remove(job_id)
                self.ended[job_id] = self.now


@pytest.mark.parametrize("costs", [(1.0, 1.0, 1.0), (1.0, 9.0, 0.3)])
def test_keys_share_by_weight_whatever_their_steps_cost(costs: tuple[float, ...]) -> None:
    worker, weights = Worker(), (1.0, 2.0, 3.0)
    for number, (cost, weight) in enumerate(zip(costs, weights, strict=True)):
        worker.add(number, f"key {number}", 100_000, cost, weight)
    worker.run(20_000)
    used = Counter[int]()
    for job_id in worker.order:
        used[job_id] += 1
    seconds = [used[number] * cost for number, cost in enumerate(costs)]
    for share, weight in zip(seconds, weights, strict=True):
        assert share / sum(seconds) == pytest.approx(weight / sum(weights), rel=0.02)


def test_within_a_key_first_come_is_first_served() -> None:
    worker = Worker()
    for number in range(3):
        worker.add(number, "a", 5)
    worker.run()
    assert worker.order == [0] * 5 + [1] * 5 + [2] * 5


def test_a_short_job_is_not_stuck_behind_a_long_one_of_its_key() -> None:
    worker = Worker()
    worker.add(1, "a", 400)
    worker.run(100)
    worker.add(2, "a", 10)
    worker.run()
    assert worker.ended[2] <= 100 + 2 * 10  # every second step
    assert worker.ended[1] == 410


def test_a_stream_of_short_jobs_leaves_half_to_the_long_one() -> None:
    worker = Worker()
    worker.add(1, "a", 400)
    for number in range(2, 60):
        worker.add(number, "a", 10)
        worker.run(20)
        if 1 in worker.ended:
            break
    assert worker.ended[1] <= 2 * 400


def test_another_key_has_its_turns_however_many_jobs_the_first_one_has() -> None:
    worker = Worker()
    for number in range(3):
        worker.add(number, "a", 1000)
    worker.add(9, "b", 50)
    worker.run()
    assert worker.ended[9] <= 2 * 50 + 1


def test_a_key_that_was_idle_saves_up_nothing() -> None:
    worker = Worker()
    worker.add(1, "a", 1000)
    worker.run(500)
    worker.add(2, "b", 1000)
    worker.run(20)
    assert Counter(worker.order[500:]) == {1: 10, 2: 10}


def test_a_key_that_had_more_than_its_part_waits_after_its_next_job_too() -> None:
    worker = Worker()
    worker.add(1, "a", 1, cost=50.0)
    worker.add(2, "b", 100)
    worker.run(1)
    worker.add(3, "a", 5)
    worker.run(50)
    assert set(worker.order[1:51]) == {2}


def test_reused_steps_give_a_key_more_of_them() -> None:
    turns = StepTurns()
    turns.add(1, "a", 1.0, 100.0)
    turns.add(2, "b", 1.0, 100.0)
    done = Counter[int]()
    for _ in range(110):
        job_id = turns.choose((1, 2))
        assert job_id is not None
        done[job_id] += 1
        turns.charge(job_id, 0.1 if job_id == 1 else 1.0)
    assert 9 <= done[1] / done[2] <= 11


def test_only_jobs_that_are_ready_have_turns() -> None:
    turns = StepTurns()
    turns.add(1, "a", 1.0, 10.0)
    turns.add(2, "a", 1.0, 10.0)
    assert turns.choose([2]) == 2
    assert turns.choose([]) is None


def test_nothing_is_kept_of_keys_that_have_had_their_part() -> None:
    turns = StepTurns()
    for number in range(100):
        turns.add(number, f"key {number}", 1.0, 1.0)
        turns.charge(number, 1.0)
        turns.remove(number)
    assert len(turns._owners) <= 2


@pytest.mark.parametrize(("cost", "other", "short"), [(1, SHORT, True), (1.01, SHORT, False), (5, 5, False)])
def test_what_is_short(cost: float, other: float, short: bool) -> None:
    assert is_short(cost, other) is short
