"""The jobs that a worker has: which of them may begin, and whose image has the next step.

Knows open jobs, their turns and their batches; knows no connection and no thread.
"""

from collections.abc import Callable, Iterator, Sequence

import structlog

from server.jobs.policy.priority import PriorityTurns
from server.jobs.workers.messages import RenderJob
from server.jobs.workers.open_job import OpenJob
from server.jobs.workers.step_batches import StepBatches
from server.jobs.workers.writer import Room

log = structlog.get_logger()

# Images that wait to be written. More would hold memory for an end that takes longer than the steps.
MOST_ENDINGS = 2


class OpenJobs:
    """The jobs of one worker, in the order of their arrival."""

    def __init__(self, room: Room, most: int, background_works: Callable[[], bool]) -> None:
        """`most` jobs have their steps in turns. `background_works` says whether work of stopped images goes on."""
        self._room, self._most, self._background_works = room, most, background_works
        self._turns = PriorityTurns()
        self.batches = StepBatches(room)
        self._jobs: dict[int, OpenJob] = {}

    def __iter__(self) -> Iterator[OpenJob]:
        """All jobs. One may be removed meanwhile."""
        return iter(tuple(self._jobs.values()))

    def add(self, message: RenderJob) -> None:
        """A job has arrived."""
        self._jobs[message.job_id] = job = OpenJob(message)
        self._turns.add(message.job_id, message.owner, message.weight, job.cost_left, low=message.low)

    def get(self, job_id: int) -> OpenJob | None:
        """A job that has not ended."""
        return self._jobs.get(job_id)

    def remove(self, job: OpenJob) -> None:
        """A job has ended."""
        del self._jobs[job.job.job_id]
        self._turns.remove(job.job.job_id)

    def charge(self, job: OpenJob, cost: float) -> None:
        """A step of a job was done."""
        self._turns.charge(job.job.job_id, cost)

    def next(self) -> OpenJob | None:
        """The job whose image is advanced or opened next. None while there is nothing to do but to wait."""
        if sum(len(job.endings) for job in self) >= MOST_ENDINGS:
            return None
        opening = [job for job in self if self.may_open(job)]
        for job in opening:  # one that joins a batch costs the others no step
            if self.batches.joins(job, self._stepping):
                return job
        chosen = self._turns.choose([job.job.job_id for job in self if job.may_advance or job in opening])
        return None if chosen is None else self._jobs[chosen]

    def batch(self, job: OpenJob) -> list[OpenJob]:
        """The jobs whose images have the next step with that of a job, which is the first of them."""
        return self.batches.members(job, [each for each in self if each.may_advance], self._turns.choose)

    def make_room(self) -> None:
        """Give up the images of low priority that another job would have to wait for.

        Jobs take turns without that where the memory is enough for both. These cannot: their steps are done again.
        """
        low = [job for job in self if job.job.low and job.current is not None]
        others = [job for job in self if not job.job.low] if low else ()
        if not any(self.may_open(job, instead=True) and not self.may_open(job) for job in others):
            return
        for job in low:
            log.info("an image of low priority begins again after another task", task=job.job.task_uuid)
            job.set_aside()

    def may_open(self, job: OpenJob, *, instead: bool = False) -> bool:
        """Whether the next image of a job can begin now, or has to wait for those under way.

        One of low priority waits for the steps of all others. `instead` assumes that the images of low priority are
        given up.
        """
        if job.current is not None or not job.outputs:
            return False
        if job.job.low and any(each.steps_wait and not each.job.low for each in self):
            return False
        stepping = [each for each in self._stepping if not (instead and each.job.low)]
        if not stepping and not any(each.endings for each in self):
            # The background may still hold the memory and the weights of images that were stopped.
            return not (self._background_works() and (job.alone or self._room.loads(job.job)))
        if self._goes_alone(job, stepping) or not self._is_next(job) or not self._has_turn(job, stepping):
            return False
        return not stepping or self._room.fits_beside(job.job, [each.job for each in stepping])

    @property
    def _stepping(self) -> list[OpenJob]:
        return [each for each in self if each.current is not None]

    def _goes_alone(self, job: OpenJob, stepping: Sequence[OpenJob]) -> bool:
        """Whether a job can have no other one beside it."""
        peers = (each for each in self if each.job.low == job.job.low)
        return job.alone or any(each.alone for each in (*peers, *stepping)) or self._room.loads(job.job)

    def _is_next(self, job: OpenJob) -> bool:
        """Whether no other job begins before. So one that needs much memory is not passed by."""
        peers = (each for each in self if each.job.low == job.job.low)
        return job.begun or next(each for each in peers if each.outputs and not each.begun) is job

    def _has_turn(self, job: OpenJob, stepping: Sequence[OpenJob]) -> bool:
        """Whether there is a turn for one job more, or it shares that of a batch."""
        ahead = [each for each in stepping if job.job.low or not each.job.low]
        return self.batches.count(ahead) < self._most or self.batches.joins(job, ahead)
