"""One SQLite file in WAL mode, used from the event loop without blocking it.

All changes run on one thread, each in one transaction that is on disk when it returns. Long questions run on a second
thread, and hold up no change. Knows no tables: the owners of tables pass their `schema`, and `migrations` for the files
of older versions.
"""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
# On disk at the end of each transaction, also when the machine loses its power.
SYNCHRONOUS = "FULL"

Migration = Callable[[sqlite3.Connection], None]


class Database:
    """Two connections and the threads that own them. Each migration runs once for each file."""

    def __init__(self, path: Path, schema: Sequence[str], migrations: Sequence[Migration] = ()) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database")
        self._connection = self._thread.submit(_open, path, schema).result()
        self._thread.submit(self._transact, partial(_migrate, migrations=migrations)).result()
        self._reading = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database-reader")
        self._reader = self._reading.submit(_open_reader, path).result()

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in one transaction on the database's thread. When it raises, nothing of it is stored."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work)

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work`, which changes nothing, beside the changes. It sees all that were stored before the call."""
        return await asyncio.get_running_loop().run_in_executor(self._reading, self._look, work)

    def close(self) -> None:
        """Finish the work under way, then close the file."""
        self._reading.submit(self._reader.close).result()
        self._reading.shutdown()
        self._thread.submit(self._connection.close).result()
        self._thread.shutdown()

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            result = work(self._connection)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:  # on a full disk SQLite has rolled back by itself
                self._connection.execute("ROLLBACK")
            raise
        return result

    def _look(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._reader.execute("BEGIN")  # all of its statements see the same state
        try:
            return work(self._reader)
        finally:
            self._reader.execute("ROLLBACK")


@contextlib.contextmanager
def read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that changes nothing, for a command that runs beside the server. Raises `sqlite3.Error`.

    `path` is absolute. A file that does not exist is not made.
    """
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    try:
        yield connection
    finally:
        connection.close()


def _open_reader(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=True)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA query_only = ON")
    return connection


def _open(path: Path, schema: Sequence[str]) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=True)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {SYNCHRONOUS}")
    connection.execute("PRAGMA foreign_keys = ON")
    # One transaction: a wait for the disk instead of one for each table, and never half of the tables.
    connection.executescript("\n;\n".join(("BEGIN IMMEDIATE", *schema, "COMMIT;")))
    return connection


def _migrate(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
    done = connection.execute("PRAGMA user_version").fetchone()[0]
    for migrate in migrations[done:]:
        migrate(connection)
    connection.execute(f"PRAGMA user_version = {max(done, len(migrations))}")
