from collections.abc import Iterator
from pathlib import Path

import pytest

from server.database import Database
from server.tasks import picture_tasks, task_ids


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "db.sqlite", [task_ids.SCHEMA, picture_tasks.SCHEMA])
    yield database
    database.close()
