"""Two classes of tasks: one of low priority has a turn only while none of normal priority could have it.

Each class has turns of its own, so what a task of low priority uses is not charged to the share of its key. It takes
time that nobody else wanted, and a key that is charged for it would wait longer afterwards for having used it. Pure:
knows no clock, no database and no worker.
"""

from collections.abc import Callable, Collection, Iterable

from server.jobs.policy.fair_share import FairShare, Waiting
from server.jobs.policy.step_turns import StepTurns


class PriorityShare:
    """Whose task is next. Takes the place of a `FairShare` where tasks of both classes wait."""

    def __init__(self, weight: Callable[[str], float]) -> None:
        self._normal, self._low = FairShare(weight), FairShare(weight)

    def choose(self, waiting: Iterable[Waiting]) -> Waiting | None:
        """The task that is next. None if none waits."""
        waiting = tuple(waiting)
        normal = self._normal.choose(task for task in waiting if not task.low)
        return normal or self._low.choose(task for task in waiting if task.low)

    def begin(self, task: Waiting) -> float:
        """Charge a task that is chosen to its owner. Returns its start in the virtual time of its class."""
        return self._of(task).begin(task)

    def end(self, task: Waiting, used: float) -> None:
        """Charge the seconds that a task has really used in place of the estimated ones."""
        self._of(task).end(task, used)

    def gives_way(self, task: Waiting, used: float, left: float, waiting: Iterable[Waiting]) -> Waiting | None:
        """The task whose turn it is between two images of a task, as `FairShare.gives_way` says it.

        One of low priority gives way to each of normal priority, of its own key too.
        """
        waiting = tuple(waiting)
        normal = self._normal.choose(other for other in waiting if not other.low) if task.low else None
        return normal or self._of(task).gives_way(
            task, used, left, (other for other in waiting if other.low == task.low)
        )

    def copy(self) -> "PriorityShare":
        """The same state, for trying out what comes."""
        copied = PriorityShare(lambda owner: 1.0)
        copied._normal, copied._low = self._normal.copy(), self._low.copy()
        return copied

    def _of(self, task: Waiting) -> FairShare:
        return self._low if task.low else self._normal


class PriorityTurns:
    """Whose image has the next step. Takes the place of `StepTurns` where a worker has jobs of both classes."""

    def __init__(self) -> None:
        self._normal, self._low = StepTurns(), StepTurns()
        self._of: dict[int, StepTurns] = {}

    def add(self, job_id: int, owner: str, weight: float, left: float, *, low: bool = False) -> None:
        """Let a job take part, whose steps cost `left` in all. The id grows in the order of acceptance."""
        self._of[job_id] = turns = self._low if low else self._normal
        turns.add(job_id, owner, weight, left)

    def choose(self, ready: Collection[int]) -> int | None:
        """The job that has the next step, among those that are ready for one. None if none is."""
        normal = self._normal.choose([number for number in ready if self._of[number] is self._normal])
        return self._low.choose(ready) if normal is None else normal

    def charge(self, job_id: int, cost: float) -> None:
        """A step of a job was done."""
        self._of[job_id].charge(job_id, cost)

    def remove(self, job_id: int) -> None:
        """A job has ended."""
        self._of.pop(job_id).remove(job_id)
