import asyncio
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from server.app import TABLES
from server.database import Database
from server.jobs.job import Result
from server.jobs.storage.store import JobStore
from server.keys.usage import DAY_SECONDS, Usage, day_of, images_since
from server.tasks.task_ids import IdClaims
from tests.server.jobs.common import SUBMISSION

NOON = 20_000.5 * DAY_SECONDS


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(tmp_path / "db.sqlite", TABLES)
    yield database
    database.close()


async def draw(database: Database, owner: str, images: int) -> None:
    """Store a job with its images, and delete it."""
    store = JobStore(database, IdClaims("job"))
    job = await store.accept(replace(SUBMISSION, owner=owner))
    for index in range(images):
        await store.add_result(job.id, Result(index, f"{owner}{index}", 1, 0.1, "{}"), [])
    await store.end(job.id, "done")
    assert await store.forget(time.time() + 1) == 1


async def test_images_of_each_owner_while_the_server_runs(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    today = day_of(NOON)
    monkeypatch.setattr(time, "time", lambda: NOON)
    for owner, images in (("a", 2), ("b", 1), ("c", 0)):
        await draw(database, owner, images)
    monkeypatch.setattr(time, "time", lambda: NOON + DAY_SECONDS)
    await draw(database, "a", 3)
    assert images_since(tmp_path / "db.sqlite", 0) == {"a": 5, "b": 1}
    assert images_since(tmp_path / "db.sqlite", today + 1) == {"a": 3}
    usage = Usage(database)
    assert [await usage.images_by_day(owner) for owner in "abc"] == [{today: 2, today + 1: 3}, {today: 1}, {}]


async def test_an_image_that_is_not_stored_does_not_count(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise sqlite3.OperationalError("disk is full")

    store = JobStore(database, IdClaims("job"))
    job = await store.accept(SUBMISSION)
    monkeypatch.setattr("server.jobs.storage.store.tell_result", fail)
    with pytest.raises(sqlite3.OperationalError):
        await store.add_result(job.id, Result(0, "a", 1, 0.1, "{}"), [])
    assert await Usage(database).images_by_day("me") == {}


async def test_the_count_of_an_owner_does_not_wait_for_a_change_under_way(database: Database) -> None:
    await draw(database, "a", 1)
    begun, go_on = threading.Event(), threading.Event()

    def change_slowly(_: sqlite3.Connection) -> bool:
        begun.set()
        return go_on.wait(20)

    change = asyncio.create_task(database.run(change_slowly))
    await asyncio.to_thread(begun.wait, 20)
    assert sum((await Usage(database).images_by_day("a")).values()) == 1
    go_on.set()
    assert await change  # it was still under way


def test_a_database_without_counts_and_none_at_all(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "new.sqlite")) as connection:
        connection.execute("CREATE TABLE other (a)")
    assert images_since(tmp_path / "new.sqlite", 0) == {}
    with pytest.raises(sqlite3.OperationalError):
        images_since(tmp_path / "missing.sqlite", 0)
