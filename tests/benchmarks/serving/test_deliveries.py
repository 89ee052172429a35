import json
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from benchmarks.server import TASK
from benchmarks.serving.deliveries import PARAMETERS, Kind, delivery_delays, open_receiver


async def test_the_first_byte_of_each_path_is_noted() -> None:
    async with open_receiver() as receiver, httpx2.AsyncClient() as web:
        before = time.time()
        for _ in range(2):
            assert (await web.post(f"{receiver.url}/a/one", content=b"body")).status_code == 200
        first = dict(receiver.arrivals)
        assert (await web.put(f"{receiver.url}/two", content=bytes(100_000))).status_code == 200
    assert receiver.arrivals.keys() == {"one", "two"}
    assert before <= first["one"] == receiver.arrivals["one"] <= receiver.arrivals["two"]


@pytest.mark.parametrize("kind", ["webhook", "upload"])
async def test_delays_count_from_the_end_of_the_render(tmp_path: Path, kind: Kind) -> None:
    """A server that delivers before it answers, and whose renders ended a second before."""
    with closing(sqlite3.connect(tmp_path / "db.sqlite", isolation_level=None)) as connection:
        connection.executescript(
            "CREATE TABLE jobs (id INTEGER PRIMARY KEY, task_uuid TEXT);"
            "CREATE TABLE results (job_id INTEGER, image_uuid TEXT); CREATE TABLE media (uuid TEXT, created REAL);"
        )

        async def answer(request: httpx2.Request) -> httpx2.Response:
            (task,) = json.loads(request.content)
            connection.execute("INSERT INTO jobs (task_uuid) VALUES (?)", (task["taskUUID"],))
            connection.execute("INSERT INTO results SELECT max(id), task_uuid FROM jobs")
            connection.execute("INSERT INTO media VALUES (?, ?)", (task["taskUUID"], time.time() - 1))
            async with httpx2.AsyncClient() as sender:
                await sender.post(task[PARAMETERS[kind]])
            return httpx2.Response(200, json={})

        async with httpx2.AsyncClient(base_url="http://box", transport=httpx2.MockTransport(answer)) as web:
            found = await delivery_delays(web, tmp_path / "db.sqlite", TASK, kind, clients=2, requests=3)
    assert len(found) == 3
    assert all(delay >= 1000 for delay in found)
