"""Whose image has the next step: keys take turns by their weights, and within a key first come is first served.

A job that is short against the first one of its key takes turns with it. Start-time fair queueing, as in `fair_share`,
with the tokens of a step as its cost: nothing is measured, so a slow step of one job is no gain of another. Pure: knows
no clock, no device and no worker.
"""

from collections.abc import Collection
from dataclasses import dataclass

# A job is short against another one that has at least this many times as much to do: the other one ends a fifth later.
SHORT = 4.0


def is_short(cost: float, other: float) -> bool:
    """Whether a job of some cost need not wait for the end of another one."""
    return SHORT * cost <= other


@dataclass(slots=True)
class _Owner:
    """The virtual time of a key: of its next step, and of its jobs among each other."""

    weight: float
    time: float
    jobs_time: float = 0.0


@dataclass(slots=True)
class _Job:
    owner: _Owner
    left: float
    time: float


class StepTurns:
    """The turns of the jobs that a worker has. Costs are in tokens."""

    def __init__(self) -> None:
        self._now = 0.0
        self._owners: dict[str, _Owner] = {}
        self._jobs: dict[int, _Job] = {}

    def add(self, job_id: int, owner: str, weight: float, left: float) -> None:
        """Let a job take part, whose steps cost `left` in all. The id grows in the order of acceptance."""
        known = self._owners.setdefault(owner, _Owner(weight, self._now))
        if not any(job.owner is known for job in self._jobs.values()):
            known.time, known.jobs_time = max(known.time, self._now), 0.0
        known.weight = weight
        self._jobs[job_id] = _Job(known, left, known.jobs_time)

    def choose(self, ready: Collection[int]) -> int | None:
        """The job that has the next step, among those that are ready for one. None if none is."""
        by_owner: dict[int, list[int]] = {}
        for job_id in sorted(ready):
            by_owner.setdefault(id(self._jobs[job_id].owner), []).append(job_id)
        best = min(by_owner.values(), key=lambda job_ids: (self._jobs[job_ids[0]].owner.time, job_ids[0]), default=None)
        return None if best is None else self._choose_of_key(best)

    def charge(self, job_id: int, cost: float) -> None:
        """A step of a job was done."""
        job = self._jobs[job_id]
        self._now = max(self._now, job.owner.time)
        job.owner.jobs_time = max(job.owner.jobs_time, job.time)
        job.owner.time = max(self._now, job.owner.time) + cost / job.owner.weight
        job.time += cost
        job.left = max(0.0, job.left - cost)

    def remove(self, job_id: int) -> None:
        """A job has ended. Its key keeps its virtual time while others have jobs and it is ahead of the present."""
        del self._jobs[job_id]
        if not self._jobs:
            self._now = max((owner.time for owner in self._owners.values()), default=self._now)
        used = {id(job.owner) for job in self._jobs.values()}
        self._owners = {
            name: owner for name, owner in self._owners.items() if id(owner) in used or owner.time > self._now
        }

    def _choose_of_key(self, job_ids: list[int]) -> int:
        """The first job of a key, or one in turns with it that is short against it."""
        first = self._jobs[job_ids[0]]
        in_turns = [
            number for number in job_ids if number == job_ids[0] or is_short(self._jobs[number].left, first.left)
        ]
        return min(in_turns, key=lambda number: (self._jobs[number].time, number))
