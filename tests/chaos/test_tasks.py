"""What happens to tasks when the server is killed, or its database is locked or damaged."""

import base64
import sqlite3
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

import tests.fakes
from server.database import read_only
from tests.chaos.servers import ChaosServer, chaos_server

pytestmark = pytest.mark.chaos

LOCK_SECONDS = 18  # SQLite waits 5 seconds for a lock: storing the picture fails, and then storing the failure


def enqueue(server: ChaosServer, **changes: Any) -> str:
    """Queue a task and return its UUID."""
    task_uuid = str(uuid.uuid4())
    server.send(taskUUID=task_uuid, deliveryMethod="async", **changes)
    return task_uuid


def wait_for_state(database: Path, task_uuid: str, state: str) -> None:
    """Wait until the file has a job in a state."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with read_only(database) as connection:
            found = connection.execute("SELECT state FROM jobs WHERE task_uuid = ?", (task_uuid,)).fetchone()
        if found == (state,):
            return
        time.sleep(0.02)
    raise AssertionError(f"{task_uuid} never became {state}")


def test_a_task_that_takes_the_server_down_is_given_up(tmp_path: Path) -> None:
    """It was taken up again at each start, for ever; those behind it were never drawn."""
    database = tmp_path / "ownware.sqlite"
    with chaos_server(tmp_path) as server:
        deadly = enqueue(server, steps=50, width=1024, height=1024, numberResults=4)
        behind = enqueue(server)
        wait_for_state(database, deadly, "running")
        server.kill()
    with chaos_server(tmp_path) as server:
        wait_for_state(database, deadly, "running")
        server.kill()
    with chaos_server(tmp_path) as server:
        failed = server.state(deadly)
        assert "killed 2 times while it drew this task" in failed["message"]
        assert "imageURL" in server.finish(behind)
        assert server.terminate() == 0


def test_a_start_long_afterwards_draws_what_waits(tmp_path: Path) -> None:
    """A row that cannot be read stopped the queue for ever, while /readyz said that all was well.

    Four of four queued edits failed after the server was off for two days: their inputs were swept at its start.
    """
    database = tmp_path / "ownware.sqlite"
    picture = "data:image/png;base64," + base64.b64encode(tests.fakes.picture()).decode()
    # Small tasks would take turns with the large one, and could be done before the kill.
    with chaos_server(tmp_path, "--open-tasks", "1") as server:
        first = enqueue(server, steps=50, width=1024, height=1024, numberResults=4)
        broken, behind = enqueue(server), enqueue(server)
        edit = enqueue(server, model="runware:108@20", inputs={"referenceImages": [picture]})
        wait_for_state(database, first, "running")
        server.kill()
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE jobs SET request = '{}' WHERE task_uuid = ?", (broken,))
        connection.execute("UPDATE jobs SET state = 'cancelled', finished = 1 WHERE task_uuid = ?", (first,))
        connection.execute("UPDATE media SET expires = expires - 2 * 86400")
    connection.close()
    with chaos_server(tmp_path) as server:
        assert "imageURL" in server.finish(behind)
        assert "cannot read" in server.state(broken)["message"]
        assert "imageURL" in server.finish(edit)


def test_an_end_under_a_locked_database_is_stored_later(tmp_path: Path) -> None:
    """The task stayed "processing" and its UUID conflicted until the next start."""
    database = tmp_path / "ownware.sqlite"
    with chaos_server(tmp_path) as server:
        task = enqueue(server, steps=30)
        wait_for_state(database, task, "running")
        hold_lock(database)
        failed = server.finish(task)
        assert "could not be stored" in failed["message"]
        assert "imageURL" in server.send(taskUUID=task)


def hold_lock(database: Path) -> None:
    """Keep the file locked for writing."""
    with sqlite3.connect(database, timeout=30, isolation_level=None) as connection:
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(LOCK_SECONDS)
        connection.execute("ROLLBACK")
    connection.close()
