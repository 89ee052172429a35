"""Which waiting task may join those that a worker has already. Pure: knows no clock, no device and no worker."""

from collections.abc import Sequence
from dataclasses import dataclass

from server.jobs.policy.fair_share import Waiting
from server.jobs.policy.priority import PriorityShare
from server.jobs.policy.step_turns import is_short

# A task whose turn comes within these seconds is given to the worker, so that its prompt is encoded meanwhile.
LEAD_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A task that a worker has. `left` are the estimated seconds of its steps, 0 when they are done.

    `tried` says that an earlier worker ended with it, so nothing may be beside it. `low` says that it is of low
    priority: it has no step while another one has steps left.
    """

    job_id: int
    owner: str
    left: float
    tried: bool = False
    low: bool = False


def takes_more(neighbours: Sequence[Neighbour], most: int, *, low: bool = False) -> bool:
    """Whether a worker may have one more task. It may have to wait for fewer than `most` others.

    So a task of low priority takes no place from one of normal priority, but it does from another one of its own.
    """
    return not any(each.tried for each in neighbours) and len(waits_for(neighbours, low=low)) < most


def waits_for(neighbours: Sequence[Neighbour], *, low: bool) -> tuple[Neighbour, ...]:
    """The tasks that a joining one may have to wait for: those with steps left, but for those that give way to it."""
    return tuple(each for each in neighbours if each.left > 0 and (low or not each.low))


def choose_beside(
    share: PriorityShare, waiting: Sequence[Waiting], neighbours: Sequence[Neighbour], *, takes_low: bool = True
) -> Waiting | None:
    """The task that is next, or a short one of the same key. None if it cannot join, so that its turn comes.

    `takes_low` says whether the worker takes one of low priority.
    """
    chosen = share.choose(waiting)
    if chosen is None or not neighbours:
        return chosen
    if chosen.tried or (chosen.low and not takes_low):  # a tried one waits for an empty worker, with nobody before it
        return None
    own = (task for task in waiting if (task.owner, task.low) == (chosen.owner, chosen.low))
    return next((task for task in sorted(own, key=lambda task: task.job_id) if _joins(task, neighbours)), None)


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
