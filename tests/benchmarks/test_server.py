import json
from pathlib import Path

import httpx2
import pytest

from benchmarks.server import acknowledgements, percentiles, request_overheads, run_server


def test_percentiles() -> None:
    assert percentiles([float(value) for value in range(1, 101)]) == {"p50": 50.5, "p99": 99.01, "max": 100.0, "n": 100}


class FakeServer:
    """Answers at once, and says that a task took no time to queue and to render."""

    def __init__(self) -> None:
        self.tasks: list[dict[str, object]] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        (task,) = json.loads(request.content)
        if task["taskType"] == "getTaskDetails":
            return httpx2.Response(200, json={"data": [{"timings": {"render": [0.0, 0.0], "queue": 0.0}}]})
        self.tasks.append(task)
        return httpx2.Response(200, json={"data": []})


@pytest.fixture
def server() -> FakeServer:
    return FakeServer()


def web(server: FakeServer) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(base_url="http://box", transport=httpx2.MockTransport(server))


async def test_the_overhead_is_what_is_neither_render_nor_queue(server: FakeServer) -> None:
    async with web(server) as client:
        found = await request_overheads(client, clients=3, requests=7)
    assert len(found) == len(server.tasks) == 7
    assert len({task["taskUUID"] for task in server.tasks}) == 7
    for request in found:
        assert request["overhead"] == request["wall"] > 0


async def test_acknowledgements_are_timed_behind_a_long_task(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_once(_: float) -> None:
        return None

    monkeypatch.setattr("benchmarks.server.asyncio.sleep", at_once)
    async with web(server) as client:
        found = await acknowledgements(client, 3)
    assert len(found) == 3
    assert server.tasks[0]["numberResults"] == 20
    assert all(task["deliveryMethod"] == "async" for task in server.tasks)


@pytest.mark.slow
@pytest.mark.usefixtures("plain_servers")
async def test_a_real_server(tmp_path: Path) -> None:
    with run_server(str(tmp_path)) as server:
        async with httpx2.AsyncClient(base_url=server.url, timeout=120) as client:
            (request,) = await request_overheads(client, 1, 1)
            (acknowledged,) = await acknowledgements(client, 1)
    assert 0 < request["render"] < request["wall"]
    assert acknowledged > 0
    assert server.seconds_to_ready > 0
