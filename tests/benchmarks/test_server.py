import json
from pathlib import Path

import httpx2
import pytest

from benchmarks.hostile.attacks import post
from benchmarks.hostile.bodies import task
from benchmarks.hostile_inputs import measure_cost
from benchmarks.server import (
    LONG_TASK,
    NO_TURNS,
    TASK,
    acknowledgements,
    percentiles,
    request_overheads,
    run_server,
)
from benchmarks.serving import held_lines
from benchmarks.serving.deliveries import delivery_delays
from benchmarks.serving.held_lines import WAYS, measure_held_lines
from server.keys.key_table import DATABASE_NAME


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
async def test_a_real_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that is measured with a server. The long task, which the others would wait for, comes last."""
    monkeypatch.setattr(held_lines, "PROBES", 5)
    monkeypatch.setattr(held_lines, "KEPT_SECONDS", 0.1)
    with run_server(str(tmp_path), *NO_TURNS, "--allow-private-urls") as server:
        async with httpx2.AsyncClient(base_url=server.url, timeout=120) as web:
            (request,) = await request_overheads(web, 1, 1)
            (delay,) = await delivery_delays(web, tmp_path / DATABASE_NAME, TASK, "webhook", clients=1, requests=1)
            hostile = measure_cost(server, post(lambda: task(lora=[1] * 1000)))
            lines = await measure_held_lines(web, server.pid, len(WAYS), LONG_TASK)
            (acknowledged,) = await acknowledgements(web, 1)
    assert server.seconds_to_ready > 0
    assert 0 < request["render"] < request["wall"]
    assert delay > 0
    assert hostile.keys() == {"stall_ms", "peak_mb", "decoders_mb"}
    assert hostile["decoders_mb"] > 0
    assert len(lines.alone) == len(lines.waiting) == 5
    assert lines.memory.keys() == {"before", "held", "later"}
    assert lines.cpu.keys() == {"alone", "waiting", "held"}
    assert acknowledged > 0
