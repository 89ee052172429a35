"""Which jobs have their next step as one batch."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from accel.cache.plan import CachePlan
from server.jobs.workers.messages import RenderJob
from server.jobs.workers.open_job import Opened, OpenJob
from server.jobs.workers.step_batches import StepBatches
from tests.fakes import FakeImage, FakeWriter
from tests.server.jobs.workers.loops import make_job

CACHE = CachePlan("fbcache", 0.1, 0, 4, 2)


class Measured(FakeWriter):
    """These numbers of images are faster together."""

    def __init__(self, *counts: int) -> None:
        super().__init__()
        self.counts = counts

    def tasks_together(self, job: RenderJob, images: int = 8) -> int:
        return max((count for count in self.counts if count <= images), default=1)


def opened(folder: Path, number: int, images: int = 1, *, low: bool = False, alone: bool = False) -> OpenJob:
    job = OpenJob(replace(make_job(folder, number, images), low=low, alone=alone))
    outputs = tuple(job.outputs)
    job.outputs.clear()
    job.current = Opened(outputs, FakeImage(FakeWriter(), job.job, outputs))
    return job


def members(batches: StepBatches, job: OpenJob, ready: list[OpenJob]) -> list[int]:
    found = batches.members(job, ready, lambda numbers: min(numbers, default=None))
    return [each.job.job_id for each in found]


@pytest.mark.parametrize(
    ("counts", "images", "expected"),
    [
        ((2, 3, 4), (1, 1, 1), [2, 1, 3]),
        ((2, 4), (1, 1, 1), [2, 1]),  # three together were not measured
        ((2,), (1, 1, 1), [2, 1]),
        ((), (1, 1, 1), [2]),
        ((4,), (1, 1, 1), [2]),
        ((2, 3), (3, 1, 1), [2, 3]),  # three images of a task are too many beside another one
        ((4,), (3, 1, 1), [2, 1]),
        ((2,), (1, 3, 1), [2]),
    ],
)
def test_as_many_as_were_measured(
    tmp_path: Path, counts: tuple[int, ...], images: tuple[int, ...], expected: list[int]
) -> None:
    jobs = [opened(tmp_path, number, count) for number, count in enumerate(images, 1)]
    assert members(StepBatches(Measured(*counts)), jobs[1], jobs) == expected


def test_jobs_that_differ_go_alone(tmp_path: Path) -> None:
    batches, job = StepBatches(Measured(2)), opened(tmp_path, 1)
    request = job.job.request

    def other(**changes: Any) -> OpenJob:
        made = opened(tmp_path, 2)
        changed = OpenJob(replace(made.job, request=replace(request, **changes)))
        changed.current = made.current
        return changed

    assert members(batches, job, [job, other(prompt="x", seed=1, steps=9)]) == [1, 2]
    for changes in ({"width": 256}, {"true_cfg_scale": 1.0}, {"cache": CACHE}, {"model": "a:1@1"}):
        assert members(batches, job, [job, other(**changes)]) == [1]
        assert not batches.joins(job, [other(**changes)])
    for each in (opened(tmp_path, 2, low=True), opened(tmp_path, 2, alone=True)):
        assert members(batches, job, [job, each]) == [1]
    other_weights, ready = opened(tmp_path, 2), opened(tmp_path, 2)
    assert other_weights.current is not None
    assert ready.current is not None
    other_weights.current.image = FakeImage(FakeWriter(), other_weights.job, other_weights.current.outputs)
    other_weights.current.image.weights = 1
    ready.current.image = FakeImage(FakeWriter(), ready.job, ready.current.outputs)
    ready.current.image.step = ready.current.image.steps
    for each in (other_weights, ready):
        assert members(batches, job, [job, each]) == [1]


def test_a_job_joins_where_there_is_room(tmp_path: Path) -> None:
    batches, jobs = StepBatches(Measured(2, 4)), [opened(tmp_path, number) for number in range(1, 5)]
    waiting = OpenJob(make_job(tmp_path, 9, images=1))
    assert not batches.joins(waiting, [])
    assert [batches.joins(waiting, jobs[:count]) for count in (1, 2, 3, 4)] == [True, True, True, False]
    two = Measured(2, 4)
    two.together = 2
    assert [StepBatches(two).joins(OpenJob(make_job(tmp_path, 9)), jobs[:count]) for count in (2, 3)] == [True, False]
    assert not StepBatches(Measured()).joins(waiting, jobs[:1])


def test_a_batch_has_one_turn(tmp_path: Path) -> None:
    jobs = [opened(tmp_path, number) for number in range(1, 4)]
    assert StepBatches(Measured(2)).count([]) == 0
    assert StepBatches(Measured(2)).count(jobs) == 1
    assert StepBatches(Measured(2)).count([*jobs, opened(tmp_path, 4, low=True), opened(tmp_path, 5, alone=True)]) == 3
    assert StepBatches(Measured()).count(jobs) == 3


def test_a_batch_that_has_failed_is_smaller_from_then_on(tmp_path: Path) -> None:
    batches, jobs = StepBatches(Measured(2, 3, 4)), [opened(tmp_path, number) for number in range(1, 5)]
    together = partial(members, batches, jobs[0], jobs)
    assert together() == [1, 2, 3, 4]
    batches.give_up(jobs, ran_out=True)
    assert together() == [1, 2, 3]
    batches.give_up(jobs[:3], ran_out=False)
    assert together() == [1]
    larger = replace(jobs[0].job, request=replace(jobs[0].job.request, width=512))
    assert batches._together(OpenJob(larger)) == 4  # of that shape alone
