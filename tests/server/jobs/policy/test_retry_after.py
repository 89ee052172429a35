"""The seconds of a refusal are true: then there is room, and a second earlier there is none."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as some

from server.errors import RateLimitExceeded
from server.jobs.policy.admission import RATE_SECONDS, QueueBounds, QueueState, check_room
from server.jobs.policy.fair_share import Waiting
from server.jobs.policy.forecast import Load, forecast
from server.jobs.policy.priority import PriorityShare
from server.keys.api_key import KeyLimits

OWNERS = ("me", "you")
seconds = some.integers(1, 50).map(float)
limits = some.builds(KeyLimits, concurrency=some.none() | some.integers(1, 4), rate=some.none() | some.integers(1, 4))
bounds = some.builds(
    QueueBounds,
    some.integers(1, 6),
    some.integers(20, 200).map(float),
    some.none() | some.integers(1, 4),
    some.none() | some.integers(20, 100).map(float),
)


@some.composite
def states(draw: some.DrawFn) -> QueueState:
    waiting = draw(some.lists(some.tuples(some.sampled_from(OWNERS), seconds), max_size=6))
    left = tuple(draw(some.lists(seconds, min_size=1, max_size=2)))
    return QueueState(
        waiting=tuple(Waiting(number, *each) for number, each in enumerate(waiting)),
        workers=tuple(map(Load, left)),
        own_running=left[: draw(some.integers(0, len(left)))],
        own_ages=tuple(draw(some.lists(some.integers(0, 59).map(float), max_size=5))),
    )


def share() -> PriorityShare:
    return PriorityShare(lambda owner: 1.0)


def later(state: QueueState, by: float) -> QueueState:
    """The queue after some seconds, if nothing joins it and every estimate is right."""
    turns = forecast(share(), state.workers, state.waiting)
    begun = [turn for turn in turns if turn.begins <= by]
    running = [*state.own_running, *(turn.ends for turn in begun if turn.task.owner == "me")]
    return replace(
        state,
        waiting=tuple(turn.task for turn in turns if turn.begins > by),
        own_running=tuple(end - by for end in running if end > by),
        own_ages=tuple(age + by for age in state.own_ages if age + by < RATE_SECONDS),
    )


def retry_after(task: Waiting, key: KeyLimits, queue: QueueBounds, state: QueueState) -> int | None:
    try:
        check_room(task, key, queue, state, share())
    except RateLimitExceeded as error:
        return error.retry_after
    return None


@settings(max_examples=60, deadline=None)
@given(seconds, limits, bounds, states())
def test_there_is_room_then_and_not_before(asked: float, key: KeyLimits, queue: QueueBounds, state: QueueState) -> None:
    task = Waiting(99, "me", asked)
    told = retry_after(task, key, queue, state)
    if told is None:
        return
    assert retry_after(task, key, queue, later(state, told)) is None
    if told > 1:
        assert retry_after(task, key, queue, later(state, told - 1)) is not None
