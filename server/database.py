"""One SQLite file in WAL mode, used from the event loop without blocking it.

All work runs on one thread, each piece in one transaction that is on disk when it returns. Knows
no tables: the owners of tables pass their `schema`, and `migrations` for the files of older versions.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
# On disk at the end of each transaction, also when the machine loses its power.
SYNCHRONOUS = "FULL"

Migration = Callable[[sqlite3.Connection], None]


class Database:
    """A connection and the thread that owns it. Each migration runs once for each file."""

    def __init__(self, path: Path, schema: Sequence[str], migrations: Sequence[Migration] = ()) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="database")
        self._connection = self._thread.submit(_open, path, schema).result()
        self._thread.submit(self._transact, partial(_migrate, migrations=migrations)).result()

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in one transaction on the database's thread. When it raises, nothing of it is stored."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work)

    def close(self) -> None:
        """Finish the work under way, then close the file."""
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
