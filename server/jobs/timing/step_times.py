"""The table of learnt seconds: what `estimates` has learnt survives a restart.

Knows no worker and no wire format.
"""

import sqlite3
from dataclasses import astuple
from pathlib import Path

import structlog

from pipelines.request import RenderRequest
from server.database import Database, read_only
from server.jobs.estimates import Estimates, Group, Measured, Pace

log = structlog.get_logger()

SCHEMA = """
CREATE TABLE IF NOT EXISTS step_times (
    model TEXT NOT NULL,
    reference_count INTEGER NOT NULL,
    size INTEGER NOT NULL,
    token REAL NOT NULL,
    rest REAL NOT NULL,
    PRIMARY KEY (model, reference_count, size)
);
"""
_QUERY = "SELECT model, reference_count, size, token, rest FROM step_times"


def read_estimates(path: Path) -> Estimates:
    """What a server has learnt, from the file of its database. Nothing where there is none. The file is only read."""
    if not path.is_file():
        return Estimates()
    try:
        with read_only(path.absolute()) as connection:
            return _estimates(connection)
    except sqlite3.Error:  # of an older version, without the table
        return Estimates()


def _estimates(connection: sqlite3.Connection) -> Estimates:
    return Estimates((Group(*row[:3]), Pace(*row[3:])) for row in map(tuple, connection.execute(_QUERY)))


class StepTimes:
    """The learnt seconds of one data folder. `estimates` is what they say."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.estimates = Estimates()

    async def open(self) -> None:
        """Read what earlier processes have learnt."""
        self.estimates = await self._database.run(_estimates)

    async def learn(self, request: RenderRequest, measured: Measured) -> None:
        """Learn from an image. On a full disk it is forgotten at the end of the process."""
        learnt = self.estimates.learn(request, measured)
        if learnt is None:
            return
        row = astuple(learnt[0]) + astuple(learnt[1])

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO step_times VALUES (?, ?, ?, ?, ?)", row)

        try:
            await self._database.run(work)
        except sqlite3.Error as error:  # the image itself is stored already
            log.warning("the learnt seconds of a step cannot be stored", reason=str(error))
