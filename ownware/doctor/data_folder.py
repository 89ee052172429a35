"""Checks of the data folder: rights, space, lock, the integrity of its database, and the clock against its rows.

Changes nothing, also while a server works there.
"""

import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from rich.filesize import decimal

import ownware
from ownware.doctor.finding import Finding
from server.database import read_only
from server.keys.key_table import DATABASE_NAME
from server.process.data_lock import lock_holder
from server.tasks.migrations import MIGRATIONS

# About a day of results: 200 images of 1328x1328 as PNG have 3 MB each.
LITTLE_SPACE = 600_000_000
# SQLite needs some pages for its log before it can store anything.
NO_SPACE = 10_000_000
CLOCK_TOLERANCE = 60.0  # seconds between the clocks of two machines that use one folder in turn


def check_folder(folder: Path) -> Iterator[Finding]:
    """Whether the folder can be made and written, how much room it has, and who uses it."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not there.is_dir():
        yield Finding("stops", "data folder", f"{there} is a file")
        return
    shut = [path for path in (there, *_written(folder)) if not os.access(path, _needed(path))]
    if shut:
        yield Finding("stops", "data folder", f"{shut[0]} cannot be written by user {os.getuid()}")
    else:
        yield Finding("ok", "data folder", f"{folder}{'' if there == folder else ' will be made'}")
    free = shutil.disk_usage(there).free
    state = "stops" if free < NO_SPACE else "note" if free < LITTLE_SPACE else "ok"
    yield Finding(state, "disk space", f"{decimal(free)} free in {there}")
    holder = lock_holder(folder)
    yield Finding("ok", "lock", "no server uses the folder" if holder is None else f"a server uses it: {holder}")


def check_database(folder: Path) -> Iterator[Finding]:
    """Whether SQLite finds the database sound, and whether the clock is not behind its rows."""
    path = folder / DATABASE_NAME
    if not path.exists():
        yield Finding("ok", "database", "none yet")
        yield from _check_clock(None)
        return
    try:
        with read_only(path) as connection:
            problem = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            newest = _newest_job(connection)
    except sqlite3.Error as error:
        yield Finding("stops", "database", f"{path}: {error}")
        return
    if problem != "ok":
        yield Finding("stops", "database", f"{path}: {' '.join(problem.split())}")
    elif version > len(MIGRATIONS):
        yield Finding("note", "database", f"{path} was written by a newer version of ownware")
    else:
        yield Finding("ok", "database", f"{decimal(path.stat().st_size)}, sound")
    yield from _check_clock(newest)


def _check_clock(newest: float | None) -> Iterator[Finding]:
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if newest is not None and newest > now + CLOCK_TOLERANCE:
        yield Finding("note", "clock", f"{shown} is {newest - now:.0f} seconds before the latest task")
    elif now + 86_400 < Path(ownware.__file__).stat().st_mtime:
        yield Finding("note", "clock", f"{shown} is before this program was installed")
    else:
        yield Finding("ok", "clock", shown)


def _newest_job(connection: sqlite3.Connection) -> float | None:
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'jobs'").fetchone() is None:
        return None
    return connection.execute("SELECT max(created) FROM jobs").fetchone()[0]


def _written(folder: Path) -> Iterator[Path]:
    """What the server writes into, as far as it is there."""
    names = ("media", "loras", "prompts", "compiled", "lock", DATABASE_NAME, f"{DATABASE_NAME}-wal")
    yield from (path for name in names if (path := folder / name).exists())


def _needed(path: Path) -> int:
    return os.W_OK | os.R_OK | (os.X_OK if path.is_dir() else 0)
