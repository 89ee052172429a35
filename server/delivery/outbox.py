"""The outbox: a row for each webhook and each upload, written in the transaction that makes it due.

A row stays until its task is deleted, so that a client can ask what became of it. Knows no job, no body and no network.
"""

import json
import sqlite3
import time
import uuid
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

from server.database import Database

Kind = Literal["webhook", "upload"]
State = Literal["waiting", "delivered", "given_up"]
# Whose results are sent: the row of a job, or the owner and the id of a task that is no job, in lower case.
Source = int | tuple[str, str]

# The id of a deleted row is never given again: a request may still be under way for it.
SCHEMA = """
CREATE TABLE IF NOT EXISTS outbox (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id INTEGER REFERENCES jobs (id) ON DELETE CASCADE,
    owner TEXT,
    task_id TEXT,
    kind TEXT NOT NULL,
    position INTEGER,
    message_id TEXT NOT NULL,
    url TEXT NOT NULL,
    host TEXT NOT NULL,
    delays TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting',
    tries INTEGER NOT NULL DEFAULT 0,
    due REAL NOT NULL,
    error TEXT,
    FOREIGN KEY (owner, task_id) REFERENCES task_ids ON DELETE CASCADE
);
CREATE INDEX IF NOT EXISTS outbox_by_due ON outbox (state, due);
CREATE INDEX IF NOT EXISTS outbox_by_job ON outbox (job_id, kind, id);
CREATE INDEX IF NOT EXISTS outbox_by_task ON outbox (owner, task_id);
"""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One row. `position` is that of a result, None for the end of the task. Times are seconds since the epoch.

    A row of a job has its `job_id`, that of another task its `owner` and `task_id`. `message_id` is the same at every
    try. `delays` are the seconds between the tries. `error` says why the last try failed. `host` has the port, and is
    what a receiver is told apart by.
    """

    id: int
    job_id: int | None
    owner: str | None
    task_id: str | None
    kind: Kind
    position: int | None
    message_id: str
    url: str
    host: str
    delays: tuple[float, ...]
    state: State
    tries: int
    due: float
    error: str | None

    @property
    def task(self) -> tuple[str, str]:
        """The owner and the id of a task that is no job. Raises `LookupError` for a job's row."""
        if self.owner is None or self.task_id is None:
            raise LookupError(f"delivery {self.id} is a job's")
        return self.owner, self.task_id


def add_delivery(
    connection: sqlite3.Connection,
    source: Source,
    kind: Kind,
    position: int | None,
    url: str,
    delays: Collection[float],
) -> None:
    """Write a row, due now. Runs inside a transaction of the caller, who wakes the dispatcher after it."""
    connection.execute(
        "INSERT INTO outbox (job_id, owner, task_id, kind, position, message_id, url, host, delays, due) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *((source, None, None) if isinstance(source, int) else (None, *source)),
            kind,
            position,
            str(uuid.uuid4()),
            url,
            urlsplit(url).netloc.lower(),
            json.dumps(list(delays)),
            time.time(),
        ),
    )


def end_delivery(connection: sqlite3.Connection, delivery: Delivery, error: str | None) -> bool:
    """Set a row to delivered, or with an error to given up. False when it is gone with its task."""
    query = "UPDATE outbox SET state = ?, tries = tries + 1, error = ? WHERE id = ? AND state = 'waiting'"
    state: State = "delivered" if error is None else "given_up"
    return connection.execute(query, (state, error, delivery.id)).rowcount > 0


def uploads_wait(connection: sqlite3.Connection, source: Source) -> bool:
    """Whether a task has an upload that has not ended."""
    condition, values = _of(source)
    query = f"SELECT 1 FROM outbox WHERE {condition} AND kind = 'upload' AND state = 'waiting'"
    return connection.execute(query, values).fetchone() is not None


def span_attributes(delivery: Delivery) -> dict[str, str | int]:
    """What the span of a try says of a row: never the URL, which may have a secret."""
    return {"server.address": delivery.host, "ownware.try": delivery.tries + 1}


def count_states(connection: sqlite3.Connection, job_id: int) -> dict[Kind, dict[State, int]]:
    """How many rows of a job are in each state, by their kind. Kinds and states without a row are left out."""
    query = "SELECT kind, state, count(*) FROM outbox WHERE job_id = ? GROUP BY kind, state ORDER BY kind, state"
    counts: dict[Kind, dict[State, int]] = {}
    for kind, state, count in connection.execute(query, (job_id,)):
        counts.setdefault(kind, {})[state] = count
    return counts


class Outbox:
    """Questions about the rows of one database, and the changes that concern no task."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def next_due(self, now: float, busy: Collection[int], full: Collection[str]) -> Delivery | None:
        """The row that has been due longest, without the busy rows and the full hosts.

        Of the rows of one kind of one job only the first that waits can be due, so that a receiver gets them in order.
        """
        query = (
            "SELECT * FROM outbox AS one WHERE state = 'waiting' AND due <= ? "
            f"AND id NOT IN ({_marks(busy)}) AND host NOT IN ({_marks(full)}) "
            "AND NOT EXISTS (SELECT 1 FROM outbox AS other WHERE other.job_id = one.job_id "
            "AND other.kind = one.kind AND other.state = 'waiting' AND other.id < one.id) "
            "ORDER BY due, id LIMIT 1"
        )

        def work(connection: sqlite3.Connection) -> Delivery | None:
            row = connection.execute(query, (now, *busy, *full)).fetchone()
            return _delivery(row) if row else None

        return await self._database.run(work)

    async def next_time(self, now: float) -> float | None:
        """When the next row becomes due that is not due now. None without one."""

        def work(connection: sqlite3.Connection) -> float | None:
            query = "SELECT min(due) FROM outbox WHERE state = 'waiting' AND due > ?"
            return connection.execute(query, (now,)).fetchone()[0]

        return await self._database.run(work)

    async def retry(self, delivery: Delivery, due: float, error: str) -> None:
        """Count a failed try, and let the row be due again at a time."""

        def work(connection: sqlite3.Connection) -> None:
            query = "UPDATE outbox SET tries = tries + 1, due = ?, error = ? WHERE id = ?"
            connection.execute(query, (due, error, delivery.id))

        await self._database.run(work)

    async def end(self, delivery: Delivery, error: str | None) -> bool:
        """Set a row to delivered, or with an error to given up. False when it is gone with its task."""
        return await self._database.run(lambda connection: end_delivery(connection, delivery, error))

    async def of(self, source: Source) -> tuple[Delivery, ...]:
        """All rows of a task, in the order in which they were written."""
        condition, values = _of(source)

        def work(connection: sqlite3.Connection) -> tuple[Delivery, ...]:
            rows = connection.execute(f"SELECT * FROM outbox WHERE {condition} ORDER BY id", values)
            return tuple(_delivery(row) for row in rows)

        return await self._database.run(work)


def _of(source: Source) -> tuple[str, tuple[object, ...]]:
    """The rows of a task: a condition and its values."""
    return ("job_id = ?", (source,)) if isinstance(source, int) else ("(owner, task_id) = (?, ?)", source)


def _marks(values: Collection[object]) -> str:
    return ", ".join("?" * len(values))


def _delivery(row: sqlite3.Row) -> Delivery:
    fields: dict[str, Any] = {**row, "delays": tuple(json.loads(row["delays"]))}
    return Delivery(**fields)
