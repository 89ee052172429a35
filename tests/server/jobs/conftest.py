from collections.abc import Iterator
from pathlib import Path

import pytest

from server.database import Database
from server.delivery import outbox as outbox_tables
from server.jobs import rows as job_tables
from server.jobs import supervisor
from server.jobs.store import JobStore
from server.jobs.timing import step_times
from server.jobs.timing.step_times import StepTimes
from server.keys import usage
from server.media import store as media_tables
from server.media.store import MediaStore
from server.tasks import task_ids
from server.tasks.task_ids import IdClaims
from tests.fakes import FakeWorker

TABLES = (media_tables, job_tables, task_ids, step_times, outbox_tables, usage)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that died is started again at once."""
    monkeypatch.setattr(supervisor, "RESTART_PAUSE_SECONDS", 0.0)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "db.sqlite", [table.SCHEMA for table in TABLES])
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> JobStore:
    return JobStore(database, IdClaims("job"))


@pytest.fixture
def media(database: Database, tmp_path: Path) -> MediaStore:
    return MediaStore(database, tmp_path / "media")


@pytest.fixture
def times(database: Database) -> StepTimes:
    return StepTimes(database)


@pytest.fixture
def worker() -> FakeWorker:
    return FakeWorker()
