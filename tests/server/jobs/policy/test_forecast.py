from server.jobs.policy.fair_share import Waiting
from server.jobs.policy.forecast import Load, forecast
from server.jobs.policy.priority import PriorityShare


def share() -> PriorityShare:
    return PriorityShare(lambda owner: 1.0)


def test_turns_follow_the_policy_on_one_worker() -> None:
    waiting = [Waiting(1, "a", 10), Waiting(2, "a", 10), Waiting(3, "b", 4)]
    turns = forecast(share(), [Load(5.0)], waiting)
    assert [(turn.task.job_id, turn.position, turn.begins, turn.ends) for turn in turns] == [
        (1, 0, 5, 15),
        (3, 1, 15, 19),
        (2, 2, 19, 29),
    ]


def test_the_first_worker_that_is_free_takes_the_next() -> None:
    waiting = [Waiting(number, "a", 10) for number in range(3)]
    assert [turn.begins for turn in forecast(share(), [Load(7.0), Load(3.0)], waiting)] == [3, 7, 13]


def test_nothing_is_changed_and_a_worker_is_assumed() -> None:
    policy = share()
    waiting = [Waiting(1, "a", 10), Waiting(2, "b", 10)]
    assert forecast(policy, [], waiting) == forecast(policy, [], waiting)
    assert forecast(policy, [], [])[:] == []
    assert policy.choose(waiting) == waiting[0]


def test_tasks_of_low_priority_begin_when_all_others_have_ended() -> None:
    waiting = [Waiting(1, "a", 10, low=True), Waiting(2, "a", 10), Waiting(3, "b", 4)]
    turns = forecast(share(), [Load(5.0, 7.0)], waiting)
    assert [(turn.task.job_id, turn.position, turn.begins) for turn in turns] == [(2, 0, 5), (3, 1, 15), (1, 2, 26)]


def test_a_worker_that_is_busy_with_low_tasks_is_free_for_others() -> None:
    waiting = [Waiting(1, "a", 10), Waiting(2, "a", 10, low=True)]
    turns = forecast(share(), [Load(0.0, 60.0), Load(3.0, 0.0)], waiting)
    assert [(turn.task.job_id, turn.begins) for turn in turns] == [(1, 0), (2, 3)]
