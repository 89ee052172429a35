"""Which images have their next step as one batch: those of several jobs that a measurement on this device allows.

A batch is made anew at each step. So a job joins the others at its first step and leaves them after its last one,
whatever their steps are. Knows open jobs and numbers; knows no model and no thread.
"""

from collections.abc import Callable, Sequence

from pipelines.batching import MOST_IMAGES, BatchShape
from server.jobs.policy.batches import Member, count_turns, joins
from server.jobs.workers.open_job import OpenJob
from server.jobs.workers.writer import Measured

Choose = Callable[[Sequence[int]], int | None]  # the job that has the next step, among those of these ids


class StepBatches:
    """The batches of one worker."""

    def __init__(self, measured: Measured) -> None:
        self._measured = measured
        self._most: dict[BatchShape, int] = {}  # of shapes whose batches have failed

    def members(self, job: OpenJob, ready: Sequence[OpenJob], choose: Choose) -> list[OpenJob]:
        """The jobs whose images have the next step with that of a job, which is the first of them.

        `choose` says whose turn it is among those that are `ready`.
        """
        others = {each.job.job_id: each for each in ready if each is not job and _fits(each, job)}
        wanted = _images(job) + sum(_images(each) for each in others.values())
        while others and (most := self._together(job, wanted)) > _images(job):
            members = _fill(job, others, most, choose)
            if (wanted := sum(map(_images, members))) == most:
                return members
        return [job]

    def joins(self, job: OpenJob, stepping: Sequence[OpenJob]) -> bool:
        """Whether the next image of a job can join a batch of those whose steps run."""
        images = min(len(job.outputs), self._measured.images_together(job.job))
        member = Member(job.shape, images, job.job.low)
        return joins(member, [_member(each) for each in stepping], lambda shape: self._together(job))

    def count(self, stepping: Sequence[OpenJob]) -> int:
        """How many turns the jobs have whose steps run: those of a batch have one."""
        of_shape = {each.shape: each for each in stepping}
        return count_turns([_member(each) for each in stepping], lambda shape: self._together(of_shape[shape]))

    def give_up(self, members: Sequence[OpenJob], *, ran_out: bool) -> None:
        """A batch has failed. From now on fewer images of its shape are together, or none where it was not memory."""
        if (shape := members[0].shape) is not None:
            self._most[shape] = sum(map(_images, members)) - 1 if ran_out else 1

    def _together(self, job: OpenJob, images: int = MOST_IMAGES) -> int:
        """The most images like those of a job that may be together, up to a number of them."""
        if job.shape is None:
            return 1
        return self._measured.tasks_together(job.job, min(images, self._most.get(job.shape, images)))


def _member(job: OpenJob) -> Member:
    return Member(job.shape, _images(job), job.job.low)


def _fits(one: OpenJob, other: OpenJob) -> bool:
    """Whether the images of two jobs can go through the blocks together."""
    if one.current is None or other.current is None or one.shape is None:
        return False
    if (one.shape, one.job.low) != (other.shape, other.job.low):
        return False
    return not one.current.image.ready and one.current.image.weights == other.current.image.weights


def _images(job: OpenJob) -> int:
    return 0 if job.current is None else len(job.current.outputs)


def _fill(job: OpenJob, others: dict[int, OpenJob], most: int, choose: Choose) -> list[OpenJob]:
    """The job and as many others as there is room for, in the order of their turns."""
    members, left, images = [job], dict(others), _images(job)
    while (number := choose(list(left))) is not None:
        each = left.pop(number)
        if images + _images(each) <= most:
            members.append(each)
            images += _images(each)
    return members
