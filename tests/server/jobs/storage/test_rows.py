import json
from collections.abc import Iterator
from dataclasses import replace

import pytest

from accel.cache.report import CacheReport, Decision
from server.database import Database
from server.errors import Failure
from server.jobs.job import Job, Result
from server.jobs.storage.rows import SCHEMA, failure_text, insert_job, insert_result, read_job, read_result
from tests.server.jobs.common import SUBMISSION

REPORT = CacheReport("fbcache", (Decision(0, 0, "cond", "first"),), 8, 4, 2.0)
FAILURE = Failure("invalidModel", "why", 400, "loras[1]")


@pytest.fixture
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database(tmp_path_factory.mktemp("data") / "db.sqlite", [SCHEMA])
    yield database
    database.close()


async def test_a_job_is_read_as_it_was_inserted(database: Database) -> None:
    job = await database.run(lambda connection: read_job(connection, insert_job(connection, SUBMISSION, 5.0)))
    assert job == Job(1, SUBMISSION, "queued", 5.0)


async def test_results_are_sorted_and_replaced_by_their_index(database: Database) -> None:
    results = [Result(1, "b", 2**63 - 1, 0.2, "{}", REPORT), Result(0, "a", 1, 0.1, "{}")]
    changed = replace(results[1], seconds=0.3)

    job_id = await database.run(lambda connection: insert_job(connection, SUBMISSION, 5.0))
    for result in (*results, changed):
        await database.run(lambda connection, result=result: insert_result(connection, job_id, result))
    job = await database.run(lambda connection: read_job(connection, job_id))
    assert job.results == (changed, results[0])
    assert await database.run(lambda connection: read_result(connection, "b")) == results[0]
    assert await database.run(lambda connection: read_result(connection, "c")) is None


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        (None, None),
        (failure_text(FAILURE), FAILURE),
        (json.dumps(["modelNotReady", "why", None]), Failure("modelNotReady", "why", 503)),
        (json.dumps(["invalidModel", "why", "lora[0].model"]), Failure("invalidModel", "why", 400, "lora[0].model")),
        (json.dumps(["inferenceError", "why", None]), Failure("inferenceError", "why", 500)),
    ],
)
async def test_failures_of_this_and_the_first_version(
    database: Database, text: str | None, failure: Failure | None
) -> None:
    job_id = await database.run(lambda connection: insert_job(connection, SUBMISSION, 5.0))
    await database.run(lambda connection: connection.execute("UPDATE jobs SET failure = ?", (text,)))
    assert (await database.run(lambda connection: read_job(connection, job_id))).failure == failure
