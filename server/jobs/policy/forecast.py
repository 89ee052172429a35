"""When each waiting task will begin, as the policy and the estimates foresee it. Pure."""

import heapq
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass

from server.jobs.policy.fair_share import FairShare, Waiting


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


def forecast(share: FairShare, left: Sequence[float], waiting: Sequence[Waiting]) -> list[Turn]:
    """The turns of the waiting tasks, in their order. `left` are the seconds that each worker is still busy.

    Without a worker, one is assumed that begins at once. `share` is not changed.
    """
    share = share.copy()
    free = list(left) or [0.0]
    heapq.heapify(free)
    queues: defaultdict[str, deque[Waiting]] = defaultdict(deque)
    for task in sorted(waiting, key=lambda task: task.job_id):
        queues[task.owner].append(task)
    turns = []
    while task := share.choose(queue[0] for queue in queues.values() if queue):
        queues[task.owner].popleft()
        share.begin(task)
        begins = heapq.heappop(free)
        heapq.heappush(free, begins + task.seconds)
        turns.append(Turn(task, len(turns), begins, begins + task.seconds))
    return turns
