from collections.abc import Iterator
from pathlib import Path

import pytest

from server.database import Database
from server.delivery import outbox as tables
from server.delivery import uploads
from server.delivery.outbox import Outbox
from server.tasks import task_ids

JOBS = "CREATE TABLE jobs (id INTEGER PRIMARY KEY); " + "".join(f"INSERT INTO jobs VALUES ({n});" for n in range(99))


@pytest.fixture(autouse=True)
def no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upload that fails is tried again at once."""
    monkeypatch.setattr(uploads, "DELAYS", (0.0, 0.0, 0.0))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "db.sqlite", [JOBS, task_ids.SCHEMA, tables.SCHEMA])
    yield database
    database.close()


@pytest.fixture
def outbox(database: Database) -> Outbox:
    return Outbox(database)
