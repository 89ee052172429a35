"""Kills in the middle of work: nothing is lost, and nothing is drawn twice."""

import os
import signal
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from server.database import read_only
from tests.chaos.figures import record, repeats
from tests.chaos.servers import ChaosServer, chaos_server
from tests.chaos.test_tasks import enqueue

pytestmark = [pytest.mark.chaos, pytest.mark.slow]

CLIENTS = 4
WORKER_KILLS, SERVER_KILLS = 20, 10
TASKS_A_KILL = 2
PNG_START, PNG_END = b"\x89PNG", b"IEND\xaeB`\x82"


def picture_is_whole(item: dict[str, Any]) -> bool:
    """Whether the picture of an answer is a PNG from its first to its last byte."""
    data = httpx2.get(item["imageURL"]).content
    return data.startswith(PNG_START) and data.endswith(PNG_END)


def test_a_worker_that_is_killed_again_and_again_under_load(tmp_path: Path) -> None:
    """Only the task under way fails. The others wait for the next worker."""
    kills, answers, over = repeats(WORKER_KILLS), list[dict[str, Any]](), threading.Event()
    recovered = []
    with chaos_server(tmp_path) as server:

        def draw_for_ever() -> None:
            while not over.is_set():
                answers.append(server.send(outputFormat="PNG", steps=8, width=256, height=256))

        with ThreadPoolExecutor(CLIENTS) as pool:
            clients = [pool.submit(draw_for_ever) for _ in range(CLIENTS)]
            try:
                for _ in range(kills):
                    before = len(answers)
                    wait_until(lambda before=before: len(answers) > before + 1)  # it works
                    worker = server.worker()
                    os.kill(worker, signal.SIGKILL)
                    killed = time.monotonic()
                    server.wait_for_next_worker(worker)
                    recovered.append(round(time.monotonic() - killed, 2))
            finally:
                over.set()
            for client in clients:
                client.result()
        failed = [answer for answer in answers if "imageURL" not in answer]
        assert len(failed) <= kills
        assert all("worker process ended" in answer["message"] for answer in failed)
        drawn = [answer for answer in answers if "imageURL" in answer]
        assert all(picture_is_whole(answer) for answer in drawn)
        assert server.terminate() == 0
    record("worker killed", kills=kills, pictures=len(drawn), failed=len(failed), ready_again_seconds=recovered)


def test_a_server_that_is_killed_again_and_again_with_tasks_queued(tmp_path: Path) -> None:
    """Every task is done once, also after many kills of the whole group."""
    kills, database = repeats(SERVER_KILLS), tmp_path / "ownware.sqlite"
    with chaos_server(tmp_path) as server:

        def enqueue_one() -> str:
            return enqueue(server, outputFormat="PNG", steps=8, width=256, height=256)

        tasks = [enqueue_one() for _ in range(TASKS_A_KILL * kills)]
        for _ in range(kills):
            while len(tasks) - (done := count_done(database)) < TASKS_A_KILL:  # some were fast, or this process slow
                tasks.append(enqueue_one())
            wait_until(lambda done=done: count_done(database) > done)
            server.kill()
            server = ChaosServer(tmp_path)
            try:
                server.wait_ready()
            except BaseException:
                server.kill()
                raise
        try:
            ended = [server.finish(task) for task in tasks]
            assert all(picture_is_whole(item) for item in ended)
        finally:
            server.kill()
    with sqlite3.connect(database) as connection:
        stored = connection.execute("SELECT count(*), count(DISTINCT job_id) FROM results").fetchone()
        files = {Path(row[0]).name for row in connection.execute("SELECT file FROM media")}
    connection.close()
    assert stored == (len(tasks), len(tasks))
    on_disk = {path.name for path in (tmp_path / "media").rglob("*") if path.is_file() and path.name[0] != "."}
    assert on_disk == files
    record("server killed", kills=kills, tasks=len(tasks), done=len(ended))


def count_done(database: Path) -> int:
    """The jobs of a file that are done."""
    with read_only(database) as connection:
        return connection.execute("SELECT count(*) FROM jobs WHERE state = 'done'").fetchone()[0]


def wait_until(condition: Any, seconds: float = 120.0) -> None:
    """Wait for a condition."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
