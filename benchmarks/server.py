"""Measures what the server costs around the worker: starts, overhead, acknowledgement, delivery, waiting clients.

Starts a server of its own and talks to it over HTTP, as a client does:

    python -m benchmarks.server [--requests 64] [--out benchmarks/results/server-cpu.jsonl]

Prints a table and appends one JSON line for each figure. Each figure names its unit, seconds or milliseconds.
"""

import argparse
import asyncio
import itertools
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import httpx2

from benchmarks.runs.records import append_line
from benchmarks.serving.deliveries import Kind, delivery_delays
from benchmarks.serving.held_lines import measure_held_lines
from benchmarks.serving.restarts import measure_restarts
from server.keys.key_table import DATABASE_NAME

# Small enough that the server's share shows beside the worker's.
TASK = {
    "taskType": "imageInference",
    "model": "runware:108@1",
    "positivePrompt": "a large red circle at the center on a white background",
    "width": 128,
    "height": 128,
    "steps": 4,
    "seed": 1,
}
# A short task would take turns with a long one, and its client would not wait.
NO_TURNS = ("--open-tasks", "1")
LONG_TASK = {**TASK, "width": 1024, "height": 1024, "steps": 50, "numberResults": 20}
CLIENTS = (1, 4, 16, 64)
DELIVERING_CLIENTS = (1, 64)
ACKNOWLEDGEMENTS = 150
WAITING_CLIENTS = 200
KILLS = 5

Report = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A running server: its base URL, its process, and the seconds from the start until it was ready."""

    url: str
    pid: int
    seconds_to_ready: float


@contextmanager
def run_server(data_dir: str, *flags: str) -> Iterator[RunningServer]:
    """Run a server on a free port, with these flags. Raises `SystemExit` when it does not start."""
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "ownware", "serve", "--port", str(port), "--data-dir", data_dir]
    started = time.perf_counter()
    process = subprocess.Popen([*command, "--log-level", "error", *flags], stdout=subprocess.DEVNULL)
    try:
        with httpx2.Client(base_url=url) as web:
            while not _ready(web):
                if process.poll() is not None:
                    raise SystemExit("the server did not start")
                time.sleep(0.01)
        yield RunningServer(url, process.pid, time.perf_counter() - started)
    finally:
        process.terminate()
        process.wait(20)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def _ready(web: httpx2.Client) -> bool:
    try:
        return web.get("/readyz").status_code == 200
    except httpx2.TransportError:
        return False


async def request_overheads(web: httpx2.AsyncClient, clients: int, requests: int) -> list[dict[str, float]]:
    """Milliseconds of each sync request: `wall`, `render`, and `overhead`, which is neither render nor queue."""
    left = iter(range(requests))

    async def client() -> list[dict[str, float]]:
        return [await _request_overhead(web) for _ in left]

    found = await asyncio.gather(*(client() for _ in range(clients)))
    return [request for of_client in found for request in of_client]


async def _request_overhead(web: httpx2.AsyncClient) -> dict[str, float]:
    task_uuid = str(uuid.uuid4())
    started = time.perf_counter()
    response = await web.post("/v1", json=[{**TASK, "taskUUID": task_uuid}])
    wall = time.perf_counter() - started
    response.raise_for_status()
    details = await web.post("/v1", json=[{"taskType": "getTaskDetails", "taskUUID": task_uuid}])
    timings = details.json()["data"][0]["timings"]
    render, queued = sum(timings["render"]), timings["queue"]
    return {"overhead": 1000 * (wall - render - queued), "render": 1000 * render, "wall": 1000 * wall}


async def acknowledgements(web: httpx2.AsyncClient, requests: int) -> list[float]:
    """Milliseconds until each async task is acknowledged while the worker renders a long one."""
    await web.post("/v1", json=[{**LONG_TASK, "taskUUID": str(uuid.uuid4()), "deliveryMethod": "async"}])
    await asyncio.sleep(1)
    found = []
    for _ in range(requests):
        task = {**TASK, "taskUUID": str(uuid.uuid4()), "deliveryMethod": "async"}
        started = time.perf_counter()
        (await web.post("/v1", json=[task])).raise_for_status()
        found.append(1000 * (time.perf_counter() - started))
        await asyncio.sleep(0.02)
    return found


def percentiles(values: list[float]) -> dict[str, float]:
    """Median, 99th percentile, maximum and number."""
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 2), "p99": round(cuts[98], 2), "max": round(max(values), 2), "n": len(values)}


async def measure_requests(url: str, requests: int, report: Report) -> None:
    """Report the overheads and the acknowledgements of a running server."""
    async with httpx2.AsyncClient(base_url=url, timeout=120) as web:
        await request_overheads(web, 1, 4)  # warm up
        for clients in CLIENTS:
            found = await request_overheads(web, clients, requests)
            render = round(statistics.median(request["render"] for request in found), 1)
            figures = percentiles([request["overhead"] for request in found])
            report(f"overhead in ms, {clients} clients", figures | {"median render": render})
        acknowledged = await acknowledgements(web, ACKNOWLEDGEMENTS)
        report("async acknowledgement in ms while rendering", percentiles(acknowledged))


async def measure_deliveries(url: str, database: Path, requests: int, report: Report) -> None:
    """Report how long finished images wait for their webhooks and uploads."""
    async with httpx2.AsyncClient(base_url=url, timeout=300) as web:
        for kind, clients in itertools.product(get_args(Kind), DELIVERING_CLIENTS):
            found = await delivery_delays(web, database, TASK, kind, clients=clients, requests=requests)
            report(f"{kind} delay in ms, {clients} clients", percentiles(found))


async def measure_waiting(server: RunningServer, report: Report) -> None:
    """Report what many waiting clients cost a running server."""
    limits = httpx2.Limits(max_connections=None)
    async with httpx2.AsyncClient(base_url=server.url, timeout=600, limits=limits) as web:
        found = await measure_held_lines(web, server.pid, WAITING_CLIENTS, LONG_TASK)
    report("healthz in ms, nobody waits", percentiles(found.alone))
    report(f"healthz in ms, {WAITING_CLIENTS} clients wait", percentiles(found.waiting))
    report(f"memory in MB, {WAITING_CLIENTS} clients wait", found.memory)
    report("server CPU in ms, of a healthz and of a second held", found.cpu)


def report_restarts(server: RunningServer, report: Report) -> None:
    """Report how soon a running server is ready again when its worker is killed."""
    with httpx2.Client(base_url=server.url, timeout=120) as web:
        found = measure_restarts(web, server.pid, KILLS, TASK)
    report("ready again in ms, worker killed", percentiles(found.wall))
    report("CPU in ms of the next worker until then", percentiles(found.cpu))


def run(requests: int, report: Report) -> None:
    """Measure everything once."""
    with tempfile.TemporaryDirectory() as data_dir:
        with run_server(data_dir) as first:
            report("seconds to ready, first start", {"seconds": round(first.seconds_to_ready, 2)})
            report_restarts(first, report)
        with run_server(data_dir, "--allow-private-urls") as second:
            report("seconds to ready, second start", {"seconds": round(second.seconds_to_ready, 2)})
            asyncio.run(measure_requests(second.url, requests, report))
            asyncio.run(measure_deliveries(second.url, Path(data_dir) / DATABASE_NAME, requests, report))
    with tempfile.TemporaryDirectory() as data_dir, run_server(data_dir, *NO_TURNS) as third:
        asyncio.run(measure_waiting(third, report))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=64, help="requests for each number of clients")
    parser.add_argument("--out", type=Path, help="file to append the JSON lines to")
    options = parser.parse_args()
    setup = {"machine": platform.machine(), "python": platform.python_version()}

    def report(name: str, figures: dict[str, Any]) -> None:
        print(f"{name:<46} " + "  ".join(f"{key} {value}" for key, value in figures.items()), flush=True)
        append_line(options.out, {"benchmark": "server", "figure": name, **figures, **setup})

    run(options.requests, report)


if __name__ == "__main__":
    main()
