"""The jobs of one owner, to be listed, counted and deleted.

Beside `JobStore`, which serves the queue. Shared by all dialects: `marks` are top-level values of the stored task, as
its dialect wrote them. Knows no worker and no wire format.
"""

import sqlite3
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from server.database import Database
from server.jobs.job import ENDED, Job, State
from server.jobs.storage.job_table import JobTable, TaskIdClaims


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs of an owner are meant. Times are in seconds since the epoch, `created_before` excluded.

    Without a `dialect` or `states` a job may have any. `marks` are the names and texts that a stored task must have.
    """

    owner: str
    dialect: str | None = None
    states: Collection[State] = ()
    created_after: float | None = None
    created_before: float | None = None
    marks: Mapping[str, str] = field(default_factory=dict)

    @property
    def condition(self) -> tuple[str, list[str | float]]:
        """The condition in SQL, and its values."""
        parts: list[str] = ["owner = ?"]
        values: list[str | float] = [self.owner]
        if self.dialect is not None:
            parts.append("dialect = ?")
            values.append(self.dialect)
        if self.states:
            parts.append(f"state IN ({', '.join('?' * len(self.states))})")
            values += self.states
        for part, time in (("created >= ?", self.created_after), ("created < ?", self.created_before)):
            if time is not None:
                parts.append(part)
                values.append(time)
        for name, text in self.marks.items():
            parts.append("json_extract(task, ?) = ?")
            values += [f'$."{name}"', text]
        return " AND ".join(parts), values


class JobHistory:
    """The jobs of one database."""

    def __init__(self, database: Database, ids: TaskIdClaims) -> None:
        self._database = database
        self._table = JobTable(ids)

    async def page(self, wanted: JobFilter, *, offset: int = 0, limit: int = 100) -> tuple[list[Job], int]:
        """Some of the jobs of a filter, the latest first, and the number of all."""
        condition, values = wanted.condition

        def find(connection: sqlite3.Connection) -> tuple[list[int], int]:
            total = connection.execute(f"SELECT count(*) FROM jobs WHERE {condition}", values).fetchone()[0]
            query = f"SELECT id FROM jobs WHERE {condition} ORDER BY id DESC LIMIT ? OFFSET ?"
            return [row["id"] for row in connection.execute(query, [*values, limit, offset])], total

        found, total = await self._database.read(find)

        def read(connection: sqlite3.Connection) -> list[Job]:  # a row that cannot be read is repaired
            query = f"SELECT id FROM jobs WHERE id IN ({', '.join('?' * len(found))}) ORDER BY id DESC"
            rows = connection.execute(query, found).fetchall()
            return [self._table.read(connection, row["id"]) for row in rows]

        return await self._database.run(read), total

    async def counts(self, wanted: JobFilter) -> dict[State, int]:
        """How many jobs of a filter are in each state. States without a job are left out."""
        condition, values = wanted.condition

        def work(connection: sqlite3.Connection) -> dict[State, int]:
            query = f"SELECT state, count(*) FROM jobs WHERE {condition} GROUP BY state"
            return {row[0]: row[1] for row in connection.execute(query, values)}

        return await self._database.read(work)

    async def delete(self, owner: str, task_id: str) -> Job | None:
        """Delete a job that has ended, with its id, and return what it was. None for any other job."""

        def work(connection: sqlite3.Connection) -> Job | None:
            query = "SELECT id, state FROM jobs WHERE owner = ? AND task_uuid = ?"
            row = connection.execute(query, (owner, task_id)).fetchone()
            if row is None or row["state"] not in ENDED:
                return None
            job = self._table.read(connection, row["id"])
            self._table.delete(connection, job)
            return job

        return await self._database.run(work)
