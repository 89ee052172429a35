from dataclasses import replace
from pathlib import Path

import pytest

from accel.cache.report import CacheReport, Decision
from pipelines.request import ControlUse, LoraUse, Reference, RenderRequest
from server.database import Database
from server.errors import Failure
from server.jobs.job import Result, Submission
from server.jobs.policy.fair_share import Waiting
from server.jobs.storage.rows import SCHEMA, open_inputs
from server.jobs.storage.store import ENDS_THE_SERVER, JobStore
from server.tasks import task_ids
from server.tasks.task_ids import IdClaims
from tests.server.jobs.common import SUBMISSION, submission


async def test_the_pictures_of_jobs_that_have_not_ended(store: JobStore, database: Database) -> None:
    job = await store.accept(with_pictures())
    assert await database.run(open_inputs) == {Path(f"{name}.png") for name in "abcd"}
    await store.claim()
    assert len(await database.run(open_inputs)) == 4
    await store.end(job.id, "failed")
    assert await database.run(open_inputs) == frozenset()


async def test_a_request_that_cannot_be_read_needs_no_pictures(store: JobStore, database: Database) -> None:
    await store.accept(SUBMISSION)
    await database.run(lambda connection: connection.execute("UPDATE jobs SET request = 'nonsense'"))
    assert await database.run(open_inputs) == frozenset()


def with_pictures() -> Submission:
    """A task with a picture at each place that a request has for one."""
    pictures = [Reference(Path(f"{name}.png"), "hash", 3, 4) for name in "abcd"]
    control = ControlUse("c", "weights", pictures[3])
    request = replace(
        SUBMISSION.request, references=(pictures[0],), seed_image=pictures[1], mask=pictures[2], controls=(control,)
    )
    return replace(SUBMISSION, request=request)


async def test_all_that_waits_fails_and_may_be_sent_again(store: JobStore) -> None:
    await store.accept(SUBMISSION)
    other = replace(SUBMISSION, task_uuid="other")
    await store.accept(other)
    assert await store.claim() is not None
    failure = Failure("modelNotReady", "why", 503)
    (failed,) = await store.fail_queued(failure)
    assert (failed.submission.task_uuid, failed.state, failed.failure) == ("other", "failed", failure)
    assert await store.find(*other.key) == failed
    assert (await store.accept(other)).state == "queued"


async def test_a_job_survives_the_process(tmp_path: Path) -> None:
    database = Database(tmp_path / "db.sqlite", [SCHEMA, task_ids.SCHEMA])
    job = await JobStore(database, IdClaims("job")).accept(SUBMISSION)
    database.close()
    database = Database(tmp_path / "db.sqlite", [SCHEMA, task_ids.SCHEMA])
    found = await JobStore(database, IdClaims("job")).find("me", SUBMISSION.task_uuid.lower())
    database.close()
    assert found is not None
    assert found == job
    assert found.submission == SUBMISSION
    assert (found.state, found.ended) == ("queued", False)


async def test_a_job_can_fail_before_it_waits(store: JobStore) -> None:
    failure = Failure("imageNotFound", "why", 400)
    job = await store.accept_failed(SUBMISSION, failure)
    assert (job.state, job.failure, job.started) == ("failed", failure, None)
    assert job.finished is not None
    assert await store.claim() is None
    assert (await store.accept(SUBMISSION)).state == "queued"


async def test_a_job_that_does_not_fit_keeps_its_place(store: JobStore) -> None:
    job = await store.accept(submission())
    asked = list[RenderRequest]()

    def fits(chosen: Waiting, request: RenderRequest) -> bool:
        asked.append(request)
        return len(asked) > 1

    assert await store.claim(fits=fits) is None
    claimed = await store.claim(fits=fits)
    assert claimed is not None
    assert (claimed.id, asked) == (job.id, [job.submission.request] * 2)


async def test_first_come_first_served(store: JobStore) -> None:
    for owner in ("a", "b"):
        await store.accept(replace(SUBMISSION, owner=owner))
    claimed = [await store.claim() for _ in range(3)]
    assert [job.submission.owner if job else None for job in claimed] == ["a", "b", None]
    assert all(job.state == "running" and job.started for job in claimed if job)


async def test_the_chosen_job_is_claimed(store: JobStore) -> None:
    for owner, seconds in (("a", 1.5), ("b", 2.5)):
        await store.accept(replace(SUBMISSION, owner=owner), estimate=seconds)
    first, second = await store.waiting()
    assert [(task.owner, task.seconds) for task in (first, second)] == [("a", 1.5), ("b", 2.5)]
    job = await store.claim(lambda waiting: waiting[1])
    assert job is not None
    assert (job.id, job.estimate) == (second.job_id, 2.5)
    assert await store.waiting() == (first,)
    assert await store.claim(lambda waiting: None) is None


async def test_when_the_jobs_of_an_owner_were_accepted(store: JobStore) -> None:
    job = await store.accept(replace(SUBMISSION, owner="a"))
    await store.accept(replace(SUBMISSION, owner="b"))
    assert await store.accepted_since("a", job.created - 1) == (job.created,)
    assert await store.accepted_since("a", job.created) == ()


async def test_loras_and_what_was_wrong_with_them_are_kept(store: JobStore) -> None:
    use = LoraUse("ink", Path("/loras/ink.safetensors"), -0.5)
    request = replace(SUBMISSION.request, loras=(use, use))
    job = await store.accept(replace(SUBMISSION, request=request))
    assert job.submission.request == request
    failure = Failure("invalidModel", "it does not fit", 400, "loras[0]")
    assert (await store.end(job.id, "failed", failure)).failure == failure


async def test_results_and_warnings_add_up(store: JobStore) -> None:
    job = await store.accept(SUBMISSION)
    await store.add_result(job.id, Result(1, "b", 2**63 - 1, 0.2, "{}"), ["two"])
    job = await store.add_result(job.id, Result(0, "a", 1, 0.1, "{}"), ["two", "one"])
    assert job.results == (Result(0, "a", 1, 0.1, "{}"), Result(1, "b", 2**63 - 1, 0.2, "{}"))
    assert job.submission.warnings == ("one", "two")


async def test_a_result_is_found_by_its_image_with_the_report_of_its_cache(store: JobStore) -> None:
    report = CacheReport("fbcache", (Decision(0, 0, "cond", "first"),), 8, 4, 2.0)
    job = await store.accept(SUBMISSION)
    result = Result(0, "a", 1, 0.1, "{}", report)
    await store.add_result(job.id, result, ())
    assert await store.result("A") == result
    assert await store.result("b") is None


async def test_interrupted_jobs_wait_again_with_what_they_have(store: JobStore) -> None:
    job = await store.accept(SUBMISSION)
    await store.claim()
    await store.add_result(job.id, Result(0, "a", 1, 0.1, "{}"), ())
    assert await store.requeue_interrupted() == (1, 0)
    again = await store.claim()
    assert again is not None
    assert [result.index for result in again.results] == [0]


async def test_only_waiting_jobs_are_cancelled_at_once(store: JobStore) -> None:
    job = await store.accept(SUBMISSION)
    cancelled = await store.end_queued(*SUBMISSION.key)
    assert cancelled is not None
    assert (cancelled.id, cancelled.state, cancelled.failure) == (
        job.id,
        "cancelled",
        Failure("taskCancelled", "The task was cancelled.", 500),
    )
    assert await store.end_queued(*SUBMISSION.key) is None


async def test_a_job_that_takes_the_server_down_is_tried_twice(store: JobStore) -> None:
    await store.accept(SUBMISSION)
    for outcome in ((1, 0), (0, 1), (0, 0)):
        await store.claim()
        assert await store.requeue_interrupted() == outcome
    found = await store.find(*SUBMISSION.key)
    assert found is not None
    assert (found.state, found.failure) == ("failed", ENDS_THE_SERVER)
    assert (await store.accept(SUBMISSION)).state == "queued"  # its id may be used again


async def test_an_image_or_an_orderly_stop_in_between_begins_the_count_anew(store: JobStore) -> None:
    job = await store.accept(SUBMISSION)
    for _ in range(4):
        await store.claim()
        await store.put_back_all()
    await store.claim()
    assert await store.requeue_interrupted() == (1, 0)
    await store.claim()
    await store.add_result(job.id, Result(0, "a", 1, 0.1, "{}"), ())
    assert await store.requeue_interrupted() == (1, 0)


async def test_a_job_of_another_model_is_not_claimed_beside_one(store: JobStore) -> None:
    for number, model in enumerate(("a:1@1", "B:1@1", "A:1@1")):
        work = submission(number)
        await store.accept(replace(work, request=replace(work.request, model=model)))
    first = await store.claim()
    assert first is not None
    assert await store.claim(beside=lambda chosen: [first.id]) is None
    third = await store.claim(lambda waiting: waiting[1], beside=lambda chosen: [first.id])
    assert third is not None
    assert third.submission.request.model == "A:1@1"


@pytest.mark.parametrize("begun", [True, False])
async def test_an_attempt_of_a_job_that_waits_at_its_worker_counts_when_it_begins(store: JobStore, begun: bool) -> None:
    for number in range(2):
        await store.accept(submission(number))
    first = await store.claim()
    assert first is not None
    second = await store.claim(beside=lambda chosen: [first.id])
    assert second is not None
    if begun:
        begun_job = await store.begin(second.id)
        assert second.started is not None
        assert begun_job.started is not None
        assert begun_job.started > second.started
    await store.requeue_interrupted()  # the server was killed
    assert [waiting.tried for waiting in await store.waiting()] == [True, begun]


async def test_a_job_whose_worker_died_is_tried_again_once(store: JobStore) -> None:
    await store.accept(submission())
    for tried in (False, True):
        assert [waiting.tried for waiting in await store.waiting()] == [tried]
        job = await store.claim()
        assert job is not None
        assert job.tried is tried
        assert await store.try_again(job.id) is not tried
