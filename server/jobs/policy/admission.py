"""Whether a task may join the queue, and when there will be room if not.

The bounds are in tasks and in estimated seconds, in all and for each key; a key may have a rate and a concurrency too.
Pure: knows no clock, no database and no worker.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil

from server.errors import RateLimitExceeded
from server.jobs.policy.fair_share import Waiting
from server.jobs.policy.forecast import Load, Turn, forecast
from server.jobs.policy.priority import PriorityShare
from server.keys.api_key import KeyLimits

RATE_SECONDS = 60.0  # a rate counts the tasks of a minute


@dataclass(frozen=True, slots=True)
class QueueBounds:
    """How much may wait: tasks and estimated seconds, in all and of one key. None is no bound of its own."""

    tasks: int
    seconds: float
    key_tasks: int | None = None
    key_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class QueueState:
    """The queue at one moment.

    `own_running` are the seconds that are left of the sender's running tasks. `own_ages` are the seconds since the
    sender's tasks of the last minute were accepted.
    """

    waiting: tuple[Waiting, ...]
    workers: tuple[Load, ...] = ()
    own_running: tuple[float, ...] = ()
    own_ages: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class _Full:
    """A bound that is reached, in words, and the seconds until a task fits again."""

    message: str
    seconds: float


def check_room(task: Waiting, limits: KeyLimits, bounds: QueueBounds, state: QueueState, share: PriorityShare) -> None:
    """Raise `RateLimitExceeded` for a task that must not wait, with the seconds until it may."""
    full = list(_reached(task, limits, bounds, state, share))
    if full:
        last = max(full, key=lambda each: each.seconds)
        raise RateLimitExceeded(f"{last.message} Try again later.", retry_after=max(1, ceil(last.seconds)))


def _reached(
    task: Waiting, limits: KeyLimits, bounds: QueueBounds, state: QueueState, share: PriorityShare
) -> Iterator[_Full]:
    # Tasks of low priority take no place in the queue from others. The limits of a key count all of its tasks.
    queue = state.waiting if task.low else tuple(each for each in state.waiting if not each.low)
    own = [waiting for waiting in queue if waiting.owner == task.owner]
    all_own = [waiting for waiting in state.waiting if waiting.owner == task.owner]

    @cache
    def all_turns() -> list[Turn]:  # of a refusal only: with many keys it takes long, and every task is checked
        return forecast(share, state.workers, state.waiting)

    def turns() -> list[Turn]:
        return [turn for turn in all_turns() if task.low or not turn.task.low]

    def own_turns() -> list[Turn]:
        return [turn for turn in turns() if turn.task.owner == task.owner]

    if (count := len(queue)) >= bounds.tasks:
        yield _Full(f"The queue is full: {count} tasks wait.", turns()[count - bounds.tasks].begins)
    if bounds.key_tasks is not None and len(own) >= bounds.key_tasks:
        yield _Full(f"{len(own)} tasks of this key wait.", own_turns()[len(own) - bounds.key_tasks].begins)
    for bound, waiting, order, whose in (
        (bounds.seconds, queue, turns, ""),
        (bounds.key_seconds, own, own_turns, " of this key"),
    ):
        total = sum(each.seconds for each in waiting)
        if bound is not None and waiting and total + task.seconds > bound:
            excess = total + task.seconds - bound
            yield _Full(f"Tasks{whose} of about {total:.0f} seconds wait.", _until(order(), excess))
    if limits.concurrency is not None and len(all_own) + len(state.own_running) >= limits.concurrency:
        ends = sorted([*state.own_running, *(turn.ends for turn in all_turns() if turn.task.owner == task.owner)])
        message = f"{len(ends)} tasks of this key wait or run, and it may have {limits.concurrency}."
        yield _Full(message, ends[len(ends) - limits.concurrency])
    if limits.rate is not None and len(state.own_ages) >= limits.rate:
        oldest = sorted(state.own_ages)[limits.rate - 1]
        yield _Full(f"The rate of this key is {limits.rate} a minute.", RATE_SECONDS - oldest)


def _until(turns: Sequence[Turn], excess: float) -> float:
    """When tasks of `excess` seconds have begun, in the order of the turns; at most when all have."""
    for turn in turns:
        excess -= turn.task.seconds
        if excess <= 0:
            return turn.begins
    return turns[-1].begins
