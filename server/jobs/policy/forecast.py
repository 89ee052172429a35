"""When each waiting task will begin, as the policy and the estimates foresee it. Pure."""

import heapq
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from server.jobs.policy.fair_share import Waiting
from server.jobs.policy.priority import PriorityShare


@dataclass(frozen=True, slots=True)
class Load:
    """The seconds that a worker is still busy, with tasks of normal and of low priority."""

    normal: float = 0.0
    low: float = 0.0


@dataclass(frozen=True, slots=True)
class Turn:
    """A waiting task, its place in the queue from 0, and the seconds until it begins and until it ends."""

    task: Waiting
    position: int
    begins: float
    ends: float


@dataclass(frozen=True, slots=True)
class Foreseen:
    """The place of a task in the queue, None once it is rendered, and the seconds until it begins and until it ends."""

    position: int | None
    begins: float
    ends: float


def forecast(share: PriorityShare, workers: Sequence[Load], waiting: Sequence[Waiting]) -> list[Turn]:
    """The turns of the waiting tasks, in their order.

    Without a worker, one is assumed that begins at once. `share` is not changed.
    """
    share = share.copy()
    free = [(each.normal, each.low) for each in workers] or [(0.0, 0.0)]
    heapq.heapify(free)
    queues: defaultdict[tuple[str, bool], deque[Waiting]] = defaultdict(deque)
    for task in sorted(waiting, key=lambda task: task.job_id):
        queues[task.owner, task.low].append(task)
    turns: list[Turn] = []
    while task := share.choose(queue[0] for queue in queues.values() if queue):
        if task.low and not (turns and turns[-1].task.low):  # the tasks of normal priority are done by now
            free = [(normal + low, 0.0) for normal, low in free]
            heapq.heapify(free)
        queues[task.owner, task.low].popleft()
        share.begin(task)
        begins, paused = heapq.heappop(free)
        heapq.heappush(free, (begins + task.seconds, paused))
        turns.append(Turn(task, len(turns), begins, begins + task.seconds))
    return turns
