"""Whose task is rendered next: keys take turns by their weights, and within a key first come is first served.

Start-time fair queueing (Goyal, Vin, Cheng 1996), with estimated seconds of rendering as the cost of a task. Each task
has a start in virtual time: where the one before of its owner ends, but not before the present. The least start is
next. So a key that was idle saves up nothing, and a key with many tasks delays another by one task at most. Pure:
knows no clock, no database and no worker.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Waiting:
    """A task that waits. `job_id` grows in the order of acceptance. `seconds` are estimated.

    `tried` says that its worker ended while it was rendered. `low` says that it is of low priority.
    """

    job_id: int
    owner: str
    seconds: float
    tried: bool = False
    low: bool = False


class FairShare:
    """The virtual time of each owner. `weight` is the weight of an owner, which may change."""

    def __init__(self, weight: Callable[[str], float]) -> None:
        self._weight = weight
        self._now = 0.0
        self._ends: dict[str, float] = {}  # of owners that are ahead of the present

    def choose(self, waiting: Iterable[Waiting]) -> Waiting | None:
        """The task that is next. None if none waits."""
        return min(_first_of_each(waiting), key=self._rank, default=None)

    def begin(self, task: Waiting) -> float:
        """Charge a task that is chosen to its owner. Returns its start in virtual time."""
        start = self._start(task.owner)
        self._now = max(self._now, start)
        self._ends[task.owner] = start + task.seconds / self._weight(task.owner)
        self._ends = {owner: end for owner, end in self._ends.items() if end > self._now}
        return start

    def end(self, task: Waiting, used: float) -> None:
        """Charge the seconds that a task has really used in place of the estimated ones."""
        end = self._ends.get(task.owner, self._now)
        self._ends[task.owner] = end + (used - task.seconds) / self._weight(task.owner)

    def gives_way(self, task: Waiting, used: float, left: float, waiting: Iterable[Waiting]) -> Waiting | None:
        """The task of another owner whose turn it is between two images of a task. None to go on with the task.

        `used` are the seconds that the task has taken so far, and `left` those that its other images will take.
        """
        share = self.copy()
        share.end(task, used)
        rest = Waiting(task.job_id, task.owner, left)
        chosen = share.choose([rest, *(other for other in waiting if other.owner != task.owner)])
        return None if chosen == rest else chosen

    def copy(self) -> "FairShare":
        """The same state, for trying out what comes."""
        copied = FairShare(self._weight)
        copied._now, copied._ends = self._now, self._ends.copy()
        return copied

    def _rank(self, task: Waiting) -> tuple[float, int]:
        return self._start(task.owner), task.job_id

    def _start(self, owner: str) -> float:
        return max(self._now, self._ends.get(owner, self._now))


def _first_of_each(waiting: Iterable[Waiting]) -> Iterable[Waiting]:
    """The first task of each owner."""
    first: dict[str, Waiting] = {}
    for task in waiting:
        known = first.get(task.owner)
        if known is None or task.job_id < known.job_id:
            first[task.owner] = task
    return first.values()
