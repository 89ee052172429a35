import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest

from server.database import SYNCHRONOUS, Database, read_only

TABLE = "CREATE TABLE IF NOT EXISTS numbers (value INTEGER PRIMARY KEY)"


async def test_all_of_a_transaction_is_kept_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("server.database.SYNCHRONOUS", SYNCHRONOUS)
    database = Database(tmp_path / "db.sqlite", [TABLE])

    def half(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO numbers VALUES (1)")
        raise RuntimeError("in between")

    with pytest.raises(RuntimeError):
        await database.run(half)
    await database.run(lambda connection: connection.execute("INSERT INTO numbers VALUES (2)"))
    rows = await database.run(lambda connection: connection.execute("SELECT value FROM numbers").fetchall())
    assert [row["value"] for row in rows] == [2]
    modes = ("journal_mode", "synchronous")
    found = await database.run(lambda c: [c.execute(f"PRAGMA {mode}").fetchone()[0] for mode in modes])
    assert found == ["wal", 2]  # 2 is FULL: on disk before the call returns
    database.close()


async def test_a_commit_that_fails_does_not_block_what_comes_after(tmp_path: Path) -> None:
    parts = "CREATE TABLE parts (whole INTEGER REFERENCES numbers (value) DEFERRABLE INITIALLY DEFERRED)"
    database = Database(tmp_path / "db.sqlite", [TABLE, parts])
    with pytest.raises(sqlite3.Error):
        await database.run(lambda connection: connection.execute("INSERT INTO parts VALUES (1)"))
    await database.run(lambda connection: connection.execute("INSERT INTO numbers VALUES (2)"))
    database.close()


async def test_a_full_disk_is_said_and_passes(tmp_path: Path) -> None:
    database = Database(tmp_path / "db.sqlite", [TABLE])
    await database.run(lambda connection: connection.execute("CREATE TABLE texts (value TEXT)"))
    pages = await database.run(lambda connection: connection.execute("PRAGMA page_count").fetchone()[0])
    await database.run(lambda connection: connection.execute(f"PRAGMA max_page_count = {pages}").fetchall())
    with pytest.raises(sqlite3.OperationalError, match="full"):
        await database.run(lambda connection: connection.execute("INSERT INTO texts VALUES (zeroblob(1000000))"))
    await database.run(lambda connection: connection.execute("INSERT INTO numbers VALUES (2)"))
    database.close()


async def test_each_migration_runs_once_in_the_life_of_the_file(tmp_path: Path) -> None:
    def insert(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO numbers SELECT COALESCE(MAX(value), 0) + 1 FROM numbers")

    for migrations in ([], [insert], [insert], [insert, insert], [insert]):
        Database(tmp_path / "db.sqlite", [TABLE], migrations).close()
    database = Database(tmp_path / "db.sqlite", [TABLE])
    rows = await database.run(lambda connection: connection.execute("SELECT value FROM numbers").fetchall())
    assert [row["value"] for row in rows] == [1, 2]
    database.close()


def test_a_migration_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    def half(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO numbers VALUES (1)")
        raise sqlite3.OperationalError("in between")

    with pytest.raises(sqlite3.OperationalError):
        Database(tmp_path / "db.sqlite", [TABLE], [half])
    with sqlite3.connect(tmp_path / "db.sqlite") as connection:
        assert connection.execute("SELECT COUNT(*) FROM numbers").fetchone()[0] == 0
    connection.close()


async def test_a_long_question_holds_up_no_change(tmp_path: Path) -> None:
    database, asked, go_on = Database(tmp_path / "db.sqlite", [TABLE]), threading.Event(), threading.Event()

    def count_slowly(connection: sqlite3.Connection) -> tuple[int, int]:
        before = connection.execute("SELECT count(*) FROM numbers").fetchone()[0]
        asked.set()
        go_on.wait(20)
        return before, connection.execute("SELECT count(*) FROM numbers").fetchone()[0]

    question = asyncio.create_task(database.read(count_slowly))
    await asyncio.to_thread(asked.wait, 20)
    await database.run(lambda connection: connection.execute("INSERT INTO numbers VALUES (1)"))
    go_on.set()
    assert await question == (0, 0)  # all of a question sees one state
    assert await database.read(lambda connection: connection.execute("SELECT count(*) FROM numbers").fetchone()[0]) == 1
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        await database.read(lambda connection: connection.execute("INSERT INTO numbers VALUES (2)"))
    database.close()


def test_a_command_changes_nothing_beside_the_server(tmp_path: Path) -> None:
    path = tmp_path / "db.sqlite"
    with pytest.raises(sqlite3.OperationalError), read_only(path):
        pass
    assert not path.exists()
    Database(path, [TABLE]).close()
    with read_only(path) as connection:
        assert connection.execute("SELECT count(*) FROM numbers").fetchone() == (0,)
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("INSERT INTO numbers VALUES (1)")
