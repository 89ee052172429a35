"""How many images each owner has got on each day, for as long as the data folder lives.

A row counts an image in the transaction that stores its result, so that nobody has to count jobs, which are deleted
after a week. Days are whole days since the epoch, in UTC. Knows no wire format.
"""

import sqlite3
from pathlib import Path

from server.database import Database, read_only

DAY_SECONDS = 86_400
SCHEMA = """
CREATE TABLE IF NOT EXISTS image_counts (
    owner TEXT NOT NULL,
    day INTEGER NOT NULL,
    images INTEGER NOT NULL,
    PRIMARY KEY (owner, day)
) WITHOUT ROWID;
"""


def count_image(connection: sqlite3.Connection, owner: str, now: float) -> None:
    """Count an image of an owner. Runs inside a transaction of the caller. `now` is in seconds since the epoch."""
    query = "INSERT INTO image_counts VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET images = images + 1"
    connection.execute(query, (owner, day_of(now)))


def day_of(seconds: float) -> int:
    """The day of a time in seconds since the epoch."""
    return int(seconds // DAY_SECONDS)


class Usage:
    """The counts of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def images_by_day(self, owner: str) -> dict[int, int]:
        """The images of an owner on each day that has any."""

        def work(connection: sqlite3.Connection) -> dict[int, int]:
            rows = connection.execute("SELECT day, images FROM image_counts WHERE owner = ?", (owner,))
            return {row["day"]: row["images"] for row in rows}

        return await self._database.read(work)


def images_since(database: Path, day: int) -> dict[str, int]:
    """The images of each owner from a day on, for a command that runs beside the server.

    Empty for a database in which no server of this version has worked yet. Raises `sqlite3.Error`.
    """
    query = "SELECT owner, sum(images) FROM image_counts WHERE day >= ? GROUP BY owner"
    with read_only(database) as connection:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'image_counts'").fetchone() is None:
            return {}
        return dict(connection.execute(query, (day,)).fetchall())
