"""Which job of a worker is next. `test_turns.py` has the turns as a whole."""

from dataclasses import replace
from pathlib import Path

from server.jobs.workers.open_job import Opened, OpenJob
from server.jobs.workers.open_jobs import MOST_ENDINGS, OpenJobs
from tests.fakes import FakeImage, FakeWriter
from tests.server.jobs.workers.loops import make_job


def open_jobs(writer: FakeWriter, folder: Path, *owners: str, most: int = 2, works: bool = False) -> OpenJobs:
    jobs = OpenJobs(writer, most, lambda: works)
    for number, owner in enumerate(owners, 1):
        jobs.add(replace(make_job(folder, number, images=1), owner=owner))
    return jobs


def begin(jobs: OpenJobs, number: int) -> OpenJob:
    job = jobs.get(number)
    assert job is not None
    outputs = tuple(job.outputs)
    job.outputs.clear()
    job.current, job.begun = Opened(outputs, FakeImage(FakeWriter(), job.job, outputs)), True
    return job


def next_id(jobs: OpenJobs) -> int | None:
    return None if (job := jobs.next()) is None else job.job.job_id


def test_without_jobs_there_is_nothing_to_do(tmp_path: Path) -> None:
    jobs = open_jobs(FakeWriter(), tmp_path)
    assert (next_id(jobs), list(jobs), jobs.get(1)) == (None, [], None)


def test_jobs_begin_in_their_order_and_keys_take_turns(tmp_path: Path) -> None:
    jobs = open_jobs(FakeWriter(), tmp_path, "a", "a", "b")
    assert next_id(jobs) == 1
    first = begin(jobs, 1)
    assert next_id(jobs) == 1
    jobs.charge(first, 1.0)
    begin(jobs, 2)
    assert next_id(jobs) == 1  # two have begun, so that of the other key waits
    jobs.remove(first)
    assert next_id(jobs) == 3


def test_nothing_begins_while_images_wait_to_be_written(tmp_path: Path) -> None:
    jobs = open_jobs(FakeWriter(), tmp_path, *"ab")
    job = begin(jobs, 1)
    assert job.current is not None
    job.endings.extend([job.current] * MOST_ENDINGS)
    assert next_id(jobs) is None


def test_other_weights_wait_for_the_work_of_stopped_images(tmp_path: Path) -> None:
    writer = FakeWriter()
    jobs = open_jobs(writer, tmp_path, "a", works=True)
    assert next_id(jobs) == 1
    writer.other_weights.add(1)
    assert next_id(jobs) is None


def test_a_job_joins_a_batch_at_once_and_shares_its_turn(tmp_path: Path) -> None:
    writer = FakeWriter()
    writer.joined = 3
    jobs = open_jobs(writer, tmp_path, *"aaaa", most=1)
    first = begin(jobs, 1)
    assert next_id(jobs) == 2
    begin(jobs, 2)
    assert next_id(jobs) == 3
    begin(jobs, 3)
    assert next_id(jobs) == 1  # the fourth one waits
    assert [job.job.job_id for job in jobs.batch(first)] == [1, 2, 3]


def test_a_job_that_does_not_fit_the_memory_joins_no_batch(tmp_path: Path) -> None:
    writer = FakeWriter()
    writer.joined, writer.room = 3, 0
    jobs = open_jobs(writer, tmp_path, *"aa")
    begin(jobs, 1)
    assert next_id(jobs) == 1


def test_low_jobs_give_up_their_images_where_the_memory_is_not_enough(tmp_path: Path) -> None:
    writer = FakeWriter()
    jobs = OpenJobs(writer, 1, lambda: False)
    jobs.add(replace(make_job(tmp_path, 1, images=1), low=True))
    low = begin(jobs, 1)
    jobs.add(make_job(tmp_path, 2, images=1))
    jobs.make_room()
    assert low.current is not None  # the memory is enough for both
    writer.room = 0
    jobs.make_room()
    assert (low.current, len(low.outputs)) == (None, 1)
    assert next_id(jobs) == 2
