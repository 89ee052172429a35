from collections.abc import Iterator
from pathlib import Path

import pytest

from server.database import Database
from server.jobs import rows as job_tables
from server.media import store as media_tables
from server.tasks import lora_library, picture_tasks, task_ids

TABLES = (media_tables, job_tables, lora_library, task_ids, picture_tasks)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "db.sqlite", [table.SCHEMA for table in TABLES])
    yield database
    database.close()
