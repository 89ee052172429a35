import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from server.app import TABLES
from server.database import Database
from server.jobs.job import Result
from server.jobs.store import JobStore
from server.keys.usage import images_since
from server.tasks.task_ids import IdClaims
from tests.server.jobs.common import SUBMISSION


async def test_images_of_each_owner_while_the_server_runs(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite"
    database = Database(path, TABLES)
    store = JobStore(database, IdClaims("job"))
    for owner, images in (("a", 2), ("b", 1), ("c", 0)):
        job = await store.accept(replace(SUBMISSION, owner=owner))
        for index in range(images):
            await store.add_result(job.id, Result(index, f"{owner}{index}", 1, 0.1, "{}"), [])
    assert images_since(path, 0) == {"a": 2, "b": 1}
    assert images_since(path, time.time() + 1) == {}
    database.close()


def test_a_database_without_jobs_and_none_at_all(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "new.sqlite")) as connection:
        connection.execute("CREATE TABLE other (a)")
    assert images_since(tmp_path / "new.sqlite", 0) == {}
    with pytest.raises(sqlite3.OperationalError):
        images_since(tmp_path / "missing.sqlite", 0)
