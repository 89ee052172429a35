"""Which waiting task may join those that a worker has already. Pure: knows no clock, no device and no worker."""

from collections.abc import Sequence
from dataclasses import dataclass

from server.jobs.policy.batches import GOES_ALONE, Member, Most, count_turns, joins, never_together
from server.jobs.policy.fair_share import Waiting
from server.jobs.policy.priority import PriorityShare
from server.jobs.policy.step_turns import is_short

# A task whose turn comes within these seconds is given to the worker, so that its prompt is encoded meanwhile.
LEAD_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A task that a worker has. `left` are the estimated seconds of its steps, 0 when they are done.

    `tried` says that an earlier worker ended with it, so nothing may be beside it. `low` says that it is of low
    priority: it has no step while another one has steps left. `member` is the task in a batch.
    """

    job_id: int
    owner: str
    left: float
    tried: bool = False
    low: bool = False
    member: Member = GOES_ALONE


def takes_more(
    neighbours: Sequence[Neighbour], most: int, *, low: bool = False, together: Most = never_together
) -> bool:
    """Whether a worker may have one more task. It may have to wait for fewer than `most` others; a batch counts as one.

    So a task of low priority takes no place from one of normal priority, but it does from another one of its own.
    """
    ahead = [each.member for each in waits_for(neighbours, low=low)]
    return not any(each.tried for each in neighbours) and count_turns(ahead, together) < most


def waits_for(neighbours: Sequence[Neighbour], *, low: bool) -> tuple[Neighbour, ...]:
    """The tasks that a joining one may have to wait for: those with steps left, but for those that give way to it."""
    return tuple(each for each in neighbours if each.left > 0 and (low or not each.low))


def choose_beside(
    share: PriorityShare,
    waiting: Sequence[Waiting],
    neighbours: Sequence[Neighbour],
    *,
    takes_normal: bool = True,
    takes_low: bool = True,
) -> Waiting | None:
    """The task that is next, or a short one of the same key. None if it cannot join, so that its turn comes.

    `takes_normal` and `takes_low` say whether the worker takes one of such a priority.
    """
    chosen = share.choose(waiting)
    if chosen is None or not neighbours:
        return chosen
    # A tried one waits for an empty worker, with nobody before it.
    if chosen.tried or not (takes_low if chosen.low else takes_normal):
        return None
    own = (task for task in waiting if (task.owner, task.low) == (chosen.owner, chosen.low))
    return next((task for task in sorted(own, key=lambda task: task.job_id) if _joins(task, neighbours)), None)


def joins_batch(
    task: Waiting, member: Member, neighbours: Sequence[Neighbour], together: Most = never_together
) -> bool:
    """Whether the task that is next can join a batch of those that a worker has, whatever its length."""
    if task.tried or any(each.tried for each in neighbours):
        return False
    ahead = waits_for(neighbours, low=task.low)
    if task.low and not all(each.low for each in ahead):
        return False
    return joins(member, [each.member for each in ahead], together)


def ends_soon(neighbours: Sequence[Neighbour]) -> bool:
    """Whether the steps of all tasks end soon, so that the next task can be prepared."""
    return all(each.left <= LEAD_SECONDS for each in neighbours)


def shared_end(left: float, others: Sequence[float], before: float = 0.0) -> float:
    """The seconds until a task ends that has `left` seconds of its own, in turns with others of as much weight.

    All that goes `before` takes so many seconds.
    """
    return before + left + sum(min(left, other) for other in others)


def _joins(task: Waiting, neighbours: Sequence[Neighbour]) -> bool:
    """Whether a task may begin beside others: of another key, short against its own, or as the next one.

    One of low priority begins where no other one has steps left, as the next one.
    """
    if task.tried:
        return False
    ahead = waits_for(neighbours, low=task.low)
    if task.low:
        return ends_soon(ahead) and all(each.low for each in ahead)
    own = [each.left for each in ahead if each.owner == task.owner]
    return not own or is_short(task.seconds, min(own)) or ends_soon(ahead)
