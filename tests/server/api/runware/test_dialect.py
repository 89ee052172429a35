from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines.catalog.profiles import Profiles
from server.api.access.client import Client
from server.api.runware.dialect import RunwareDialect
from server.database import Database
from server.errors import ApiError, Failure, InvalidParameter, TaskRejected
from server.jobs.job import Job, Result
from server.media import store as media_tables
from server.media.store import Media, MediaStore
from server.tasks import lora_library
from server.tasks.lora_library import LoraLibrary
from server.tasks.options import TaskOptions
from tests.server.conftest import new_task
from tests.server.jobs.common import SUBMISSION
from tests.server.tasks.common import CATALOG

CLIENT = Client("me", "http://box:8000", listens=False)
KEYS = {"taskType": "imageInference", "taskUUID": SUBMISSION.task_uuid}
JOB = Job(1, replace(SUBMISSION, task=KEYS), "done", 0.0, results=(Result(0, "u", 7, 0.1, "{}"),))


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[tuple[LoraLibrary, MediaStore]]:
    database = Database(tmp_path / "db.sqlite", [media_tables.SCHEMA, lora_library.SCHEMA])
    yield LoraLibrary(CATALOG, database, tmp_path, None), MediaStore(database, tmp_path)
    database.close()


@pytest.fixture
def dialect(parts: tuple[LoraLibrary, MediaStore]) -> RunwareDialect:
    return RunwareDialect(*parts, options())


def options(**changes: Any) -> TaskOptions:
    return TaskOptions(Profiles(CATALOG), **changes)


def test_a_task_is_parsed_into_what_it_asks_for(dialect: RunwareDialect) -> None:
    task = new_task(steps=8, seed=5)
    spec = dialect.parse(task, CLIENT)
    assert (spec.task_id, spec.owner, spec.prompt) == (task["taskUUID"], "me", "a red circle")
    assert (spec.width, spec.height, spec.steps) == (128, 128, 8)
    assert spec.model == CATALOG.entries[0]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"model": "nobody:1@1"}, "invalidModel"),
        ({"width": 100}, "invalidWidth"),
        ({"setps": 5}, "unknownParameter"),
        ({"strength": 0.5, "inputs": {"strength": 0.6}}, "incompatibleParameters"),
    ],
    ids=str,
)
def test_what_cannot_be_parsed_is_refused(dialect: RunwareDialect, changes: dict[str, Any], code: str) -> None:
    with pytest.raises((TaskRejected, ApiError)) as refused:
        dialect.parse(new_task(**changes), CLIENT)
    errors = refused.value.errors if isinstance(refused.value, TaskRejected) else [refused.value]
    assert code in {error.code for error in errors if isinstance(error, ApiError)}


def test_an_unknown_parameter_may_be_ignored_with_a_warning(parts: tuple[LoraLibrary, MediaStore]) -> None:
    spec = RunwareDialect(*parts, options(ignore_unknown=True)).parse(new_task(setps=5), CLIENT)
    assert any("setps is ignored" in warning for warning in spec.warnings)


async def test_the_replies(dialect: RunwareDialect, parts: tuple[LoraLibrary, MediaStore]) -> None:
    media = parts[1]
    path = media.path_for("u", "webp")
    path.parent.mkdir()
    path.touch()
    await media.adopt(Media("u", "result", SUBMISSION.owner, path, "image/webp", 4, 3, "hash", 0.0, None))
    assert dialect.acknowledge(JOB).data == (KEYS,)
    answer = await dialect.result(JOB, JOB.results[0], CLIENT)
    (item,) = answer.data
    assert (item["seed"], item["imageURL"]) == (7, "http://box:8000/image/u.webp")
    assert answer.warnings == SUBMISSION.warnings


def test_an_error_with_its_job_and_without(dialect: RunwareDialect) -> None:
    answer = dialect.error(Failure("invalidModel", "why", 400, "loras[1]"), JOB)
    (error,) = answer.errors
    assert (error["parameter"], error["taskUUID"], answer.status) == ("lora[1].model", SUBMISSION.task_uuid, 400)
    (error,) = dialect.error(InvalidParameter("width", "why")).errors
    assert (error["code"], "taskUUID" in error) == ("invalidWidth", False)
