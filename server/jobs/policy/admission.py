"""Whether a task may join the queue, and when there will be room if not.

The bounds are in tasks and in estimated seconds, in all and for each key; a key may have a rate and a concurrency too.
Pure: knows no clock, no database and no worker.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil

from server.errors import RateLimitExceeded
from server.jobs.policy.fair_share import FairShare, Waiting
from server.jobs.policy.forecast import forecast
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

    `left` are the seconds that each worker is still busy. `own_running` are those of the sender's running tasks.
    `own_ages` are the seconds since the sender's tasks of the last minute were accepted.
    """

    waiting: tuple[Waiting, ...]
    left: tuple[float, ...] = ()
    own_running: tuple[float, ...] = ()
    own_ages: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class _Full:
    """A bound that is reached, in words, and the seconds until a task fits again."""

    message: str
    seconds: float


def check_room(task: Waiting, limits: KeyLimits, bounds: QueueBounds, state: QueueState, share: FairShare) -> None:
    """Raise `RateLimitExceeded` for a task that must not wait, with the seconds until it may."""
    full = list(_reached(task, limits, bounds, state, share))
    if full:
        last = max(full, key=lambda each: each.seconds)
        raise RateLimitExceeded(f"{last.message} Try again later.", retry_after=max(1, ceil(last.seconds)))


def _reached(
    task: Waiting, limits: KeyLimits, bounds: QueueBounds, state: QueueState, share: FairShare
) -> Iterator[_Full]:
    own = [waiting for waiting in state.waiting if waiting.owner == task.owner]
    turns = forecast(share, state.left, state.waiting)
    begins = [(turn.begins, turn.task) for turn in turns]
    own_begins = [(at, waiting) for at, waiting in begins if waiting.owner == task.owner]
    if len(begins) >= bounds.tasks:
        yield _Full(f"The queue is full: {len(begins)} tasks wait.", begins[len(begins) - bounds.tasks][0])
    if bounds.key_tasks is not None and len(own) >= bounds.key_tasks:
        yield _Full(f"{len(own)} tasks of this key wait.", own_begins[len(own) - bounds.key_tasks][0])
    for bound, queue, whose in ((bounds.seconds, begins, ""), (bounds.key_seconds, own_begins, " of this key")):
        total = sum(waiting.seconds for _, waiting in queue)
        if bound is not None and queue and total + task.seconds > bound:
            yield _Full(f"Tasks{whose} of about {total:.0f} seconds wait.", _until(queue, total + task.seconds - bound))
    if limits.concurrency is not None and len(own) + len(state.own_running) >= limits.concurrency:
        ends = sorted([*state.own_running, *(turn.ends for turn in turns if turn.task.owner == task.owner)])
        message = f"{len(ends)} tasks of this key wait or run, and it may have {limits.concurrency}."
        yield _Full(message, ends[len(ends) - limits.concurrency])
    if limits.rate is not None and len(state.own_ages) >= limits.rate:
        oldest = sorted(state.own_ages)[limits.rate - 1]
        yield _Full(f"The rate of this key is {limits.rate} a minute.", RATE_SECONDS - oldest)


def _until(queue: list[tuple[float, Waiting]], excess: float) -> float:
    """When tasks of so many seconds have begun, in the order of the queue; at most when all have."""
    for begins, waiting in queue:
        excess -= waiting.seconds
        if excess <= 0:
            return begins
    return queue[-1][0]
