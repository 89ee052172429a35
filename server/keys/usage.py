"""How many images each owner has got, for a command that runs beside the server.

Reads a database that another process may be writing. Knows no wire format.
"""

import sqlite3
from contextlib import closing
from pathlib import Path


def images_since(database: Path, since: float) -> dict[str, int]:
    """The finished images of each owner's jobs since a time, in seconds since the epoch.

    Empty for a database in which no server has worked yet. Raises `sqlite3.Error`.
    """
    query = "SELECT owner, count(*) FROM results JOIN jobs ON jobs.id = job_id WHERE created >= ? GROUP BY owner"
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'results'").fetchone() is None:
            return {}
        return dict(connection.execute(query, (since,)).fetchall())
