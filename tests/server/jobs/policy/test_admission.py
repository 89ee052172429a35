from typing import Any

import pytest

from server.errors import RateLimitExceeded
from server.jobs.policy import admission
from server.jobs.policy.admission import QueueBounds, QueueState, check_room
from server.jobs.policy.fair_share import Waiting
from server.jobs.policy.forecast import Load
from server.jobs.policy.priority import PriorityShare
from server.keys.api_key import NO_LIMITS, KeyLimits

MINE = [Waiting(1, "me", 10), Waiting(2, "me", 20)]
OTHER = [Waiting(3, "you", 30)]
WIDE = QueueBounds(tasks=100, seconds=10_000)


def refused(
    *, seconds: float = 5, limits: KeyLimits = NO_LIMITS, bounds: QueueBounds = WIDE, low: bool = False, **state: Any
) -> tuple[str, int | None] | None:
    """The words and the seconds of a refusal. Mine begin after 8 and 48, the other one after 18 seconds."""
    full = QueueState(**{"waiting": (*MINE, *OTHER), "workers": (Load(8.0),)} | state)
    try:
        check_room(Waiting(9, "me", seconds, low=low), limits, bounds, full, PriorityShare(lambda owner: 1.0))
    except RateLimitExceeded as error:
        return error.message, error.retry_after
    return None


@pytest.mark.parametrize(
    ("bounds", "words", "retry"),
    [
        (QueueBounds(3, 1e6), "The queue is full: 3 tasks wait.", 8),
        (QueueBounds(2, 1e6), "The queue is full: 3 tasks wait.", 18),
        (QueueBounds(9, 1e6, key_tasks=2), "2 tasks of this key wait.", 8),
        (QueueBounds(9, 1e6, key_tasks=1), "2 tasks of this key wait.", 48),
        (QueueBounds(9, 60), "Tasks of about 60 seconds wait.", 8),
        (QueueBounds(9, 50), "Tasks of about 60 seconds wait.", 18),
        (QueueBounds(9, 1e6, key_seconds=30), "Tasks of this key of about 30 seconds wait.", 8),
        (QueueBounds(9, 1e6, key_seconds=20), "Tasks of this key of about 30 seconds wait.", 48),
    ],
)
def test_a_bound_that_is_reached_says_when_there_is_room(bounds: QueueBounds, words: str, retry: int) -> None:
    assert refused(bounds=bounds) == (f"{words} Try again later.", retry)


@pytest.mark.parametrize(
    "bounds", [WIDE, QueueBounds(4, 1e6), QueueBounds(9, 65), QueueBounds(9, 1e6, key_tasks=3, key_seconds=35)]
)
def test_there_is_room_up_to_a_bound(bounds: QueueBounds) -> None:
    assert refused(bounds=bounds) is None


def test_a_task_that_finds_room_costs_no_forecast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(admission, "forecast")
    assert refused(limits=KeyLimits(rate=2, concurrency=4), own_ages=(1.0,)) is None
    with pytest.raises(NameError):
        refused(bounds=QueueBounds(3, 1e6))


def test_a_task_longer_than_the_bound_finds_room_in_an_empty_queue() -> None:
    bounds = QueueBounds(9, 60, key_seconds=60)
    assert refused(seconds=100, bounds=bounds, waiting=()) is None
    assert refused(seconds=100, bounds=bounds) is not None


@pytest.mark.parametrize(
    ("concurrency", "running", "retry"),
    [
        (2, (), 18),  # my first one ends
        (3, (4.0,), 4),
        (2, (4.0,), 18),
        (1, (4.0,), 68),
    ],
)
def test_a_concurrency_waits_for_an_end(concurrency: int, running: tuple[float, ...], retry: int) -> None:
    found = refused(limits=KeyLimits(concurrency=concurrency), own_running=running)
    assert found is not None
    assert found[1] == retry
    assert refused(limits=KeyLimits(concurrency=4), own_running=(4.0,)) is None


def test_a_rate_waits_until_the_minute_of_a_task_is_over() -> None:
    ages = (1.0, 50.5, 20.0)
    assert refused(limits=KeyLimits(rate=3), own_ages=ages) == (
        "The rate of this key is 3 a minute. Try again later.",
        10,
    )
    assert refused(limits=KeyLimits(rate=2), own_ages=ages) == (
        "The rate of this key is 2 a minute. Try again later.",
        40,
    )
    assert refused(limits=KeyLimits(rate=4), own_ages=ages) is None


def test_of_several_bounds_the_last_to_end_counts() -> None:
    found = refused(limits=KeyLimits(rate=1), bounds=QueueBounds(3, 1e6), own_ages=(1.0,))
    assert found == ("The rate of this key is 1 a minute. Try again later.", 59)


def test_at_least_a_second() -> None:
    found = refused(bounds=QueueBounds(3, 1e6), workers=())
    assert found is not None
    assert found[1] == 1


LOW = tuple(Waiting(number, "me", 20, low=True) for number in range(4, 7))


def test_waiting_tasks_of_low_priority_take_no_place_from_others() -> None:
    bounds = QueueBounds(4, 100, key_tasks=3, key_seconds=40)
    assert refused(bounds=bounds, waiting=(*MINE, *OTHER, *LOW)) is None
    assert refused(bounds=bounds, waiting=(*MINE, *OTHER, *LOW), low=True) is not None


def test_a_task_of_low_priority_comes_again_when_those_before_it_have_begun() -> None:
    assert refused(bounds=QueueBounds(6, 1e6), waiting=(*MINE, *OTHER, *LOW), low=True) == (
        "The queue is full: 6 tasks wait. Try again later.",
        8,
    )


def test_the_concurrency_of_a_key_counts_all_of_its_tasks() -> None:
    found = refused(limits=KeyLimits(concurrency=5), waiting=(*MINE, *LOW))
    assert found == ("5 tasks of this key wait or run, and it may have 5. Try again later.", 18)
