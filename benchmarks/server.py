"""What the server costs around the worker: start, overhead of a request, acknowledgement under load.

Starts a server of its own and talks to it over HTTP, as a client would:

    python -m benchmarks.server [--requests 64] [--out benchmarks/results/server-cpu.jsonl]

Prints a table and appends one JSON line for each figure. Times are seconds or milliseconds as named.
"""

import argparse
import asyncio
import json
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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2

# Small enough that the server's share shows beside the worker's.
TASK = {
    "taskType": "imageInference",
    "model": "runware:108@1",
    "positivePrompt": "a red circle on a white background",
    "width": 128,
    "height": 128,
    "steps": 4,
    "seed": 1,
}
CLIENTS = (1, 4, 16)


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: its base URL, and the seconds from the start of the command until it was ready."""

    url: str
    seconds_to_ready: float


@contextmanager
def server(data_dir: str) -> Iterator[Server]:
    """Run a server on a free port. Raises `SystemExit` when it does not start."""
    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "ownware", "serve", "--port", str(port), "--data-dir", data_dir]
    started = time.perf_counter()
    process = subprocess.Popen([*command, "--log-level", "error"], stdout=subprocess.DEVNULL)
    try:
        with httpx2.Client(base_url=url) as web:
            while not _ready(web):
                if process.poll() is not None:
                    raise SystemExit("the server did not start")
                time.sleep(0.01)
        yield Server(url, time.perf_counter() - started)
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


async def overhead(url: str, clients: int, requests: int) -> list[dict[str, float]]:
    """Milliseconds of each sync request that were spent neither waiting for others nor in the worker."""
    async with httpx2.AsyncClient(base_url=url, timeout=120) as web:
        left = iter(range(requests))

        async def client() -> list[dict[str, float]]:
            return [await _overhead_of_one(web) for _ in left]

        found = await asyncio.gather(*(client() for _ in range(clients)))
    return [one for each in found for one in each]


async def _overhead_of_one(web: httpx2.AsyncClient) -> dict[str, float]:
    task_uuid = str(uuid.uuid4())
    started = time.perf_counter()
    response = await web.post("/v1", json=[{**TASK, "taskUUID": task_uuid}])
    wall = time.perf_counter() - started
    response.raise_for_status()
    details = await web.post("/v1", json=[{"taskType": "getTaskDetails", "taskUUID": task_uuid}])
    timings = details.json()["data"][0]["timings"]
    render, queued = sum(timings["render"]), timings["queue"]
    return {"overhead": 1000 * (wall - render - queued), "render": 1000 * render, "wall": 1000 * wall}


async def acknowledgements(url: str, requests: int) -> list[float]:
    """Milliseconds until an async task is acknowledged while the worker is busy with a long one."""
    async with httpx2.AsyncClient(base_url=url, timeout=120) as web:
        long = {**TASK, "width": 1024, "height": 1024, "steps": 50, "numberResults": 20, "deliveryMethod": "async"}
        await web.post("/v1", json=[{**long, "taskUUID": str(uuid.uuid4())}])
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
    """Median, 99th percentile and maximum."""
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 2), "p99": round(cuts[98], 2), "max": round(max(values), 2), "n": len(values)}


def run(requests: int, report: Callable[[str, dict[str, Any]], None]) -> None:
    """Measure everything once."""
    with tempfile.TemporaryDirectory() as data_dir:
        with server(data_dir) as first:
            report("seconds to ready, first start", {"seconds": round(first.seconds_to_ready, 2)})
        with server(data_dir) as second:
            report("seconds to ready, second start", {"seconds": round(second.seconds_to_ready, 2)})
            asyncio.run(overhead(second.url, 1, 4))  # warm up
            for clients in CLIENTS:
                found = asyncio.run(overhead(second.url, clients, requests))
                render = round(statistics.median(one["render"] for one in found), 1)
                figures = percentiles([one["overhead"] for one in found])
                report(f"overhead in ms, {clients} clients", figures | {"median render": render})
            found = asyncio.run(acknowledgements(second.url, 150))
            report("async acknowledgement in ms while rendering", percentiles(found))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=64, help="requests for each number of clients")
    parser.add_argument("--out", type=Path, help="file to append the JSON lines to")
    options = parser.parse_args()
    place = {"machine": platform.machine(), "python": platform.python_version()}

    def report(name: str, figures: dict[str, Any]) -> None:
        print(f"{name:<46} " + "  ".join(f"{key} {value}" for key, value in figures.items()), flush=True)
        if options.out is not None:
            line = {"benchmark": "server", "figure": name, **figures, **place, "date": datetime.now(UTC).isoformat()}
            with options.out.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")

    run(options.requests, report)


if __name__ == "__main__":
    main()
