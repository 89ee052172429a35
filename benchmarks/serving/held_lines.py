"""Measures what waiting clients cost a server: many hold their lines at once, in four ways, and health is probed.

Knows the four ways on the wire; knows no worker.
"""

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import httpx2
from websockets.asyncio.client import connect

from benchmarks.runs.process_status import cpu_seconds, status_bytes

# Behind a task that renders for minutes, none of these begins.
PROMPT = {
    "prompt": "a large red circle at the center on a white background",
    "size": "128*128",
    "num_inference_steps": 4,
}
TASK = {"taskType": "imageInference", "model": "runware:108@1", "width": 128, "height": 128, "steps": 4}
DRAW = "/v2/qwen-image-t2i"
SYNC_MODE = "/api/v3/wavespeed-ai/qwen-image/text-to-image"
PATIENCE_SECONDS = 60.0  # until all are accepted
KEPT_SECONDS = 20.0  # between the two looks at the memory
PROBES, PROBE_PAUSE_SECONDS = 200, 0.02
_PAUSE = 0.1


async def hold_runsync(web: httpx2.AsyncClient) -> None:
    """Wait for a new job of RunPod's API."""
    await web.post(f"{DRAW}/runsync?wait=300000", json={"input": PROMPT})


async def hold_status_sync(web: httpx2.AsyncClient) -> None:
    """Wait for a job of RunPod's API that was sent before."""
    job = (await web.post(f"{DRAW}/run", json={"input": PROMPT})).json()
    await web.get(f"{DRAW}/status-sync/{job['id']}?wait=300000")


async def hold_sync_mode(web: httpx2.AsyncClient) -> None:
    """Wait for a prediction of WaveSpeed's API in sync mode."""
    await web.post(SYNC_MODE, json={**PROMPT, "enable_sync_mode": True})


async def hold_socket(web: httpx2.AsyncClient) -> None:
    """Wait for a task of Runware's API on a WebSocket."""
    address = str(web.base_url.copy_with(scheme="ws")).rstrip("/") + "/v1"
    async with connect(address) as socket:
        await socket.send(json.dumps([{"taskType": "authentication", "apiKey": "any"}]))
        await socket.recv()
        task = {**TASK, "taskUUID": str(uuid.uuid4()), "positivePrompt": PROMPT["prompt"], "deliveryMethod": "async"}
        await socket.send(json.dumps([task]))
        async for _ in socket:
            pass


WAYS: tuple[Callable[[httpx2.AsyncClient], Coroutine[Any, Any, None]], ...] = (
    hold_runsync,
    hold_status_sync,
    hold_sync_mode,
    hold_socket,
)


@contextlib.asynccontextmanager
async def held_lines(web: httpx2.AsyncClient, clients: int) -> AsyncIterator[None]:
    """Hold the lines of a number of clients within this block. Each way gets the same share of them."""
    tasks = [asyncio.create_task(way(web)) for way in WAYS for _ in range(clients // len(WAYS))]
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await _waiting(web) < len(tasks) and not any(task.done() for task in tasks):  # noqa: ASYNC110  of a server
                await asyncio.sleep(_PAUSE)
        yield
    finally:
        ended = [task for task in tasks if task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if ended:
            raise RuntimeError(f"{len(ended)} of {len(tasks)} clients did not wait: {ended[0]}")


async def _waiting(web: httpx2.AsyncClient) -> int:
    """The number of tasks that wait in the server."""
    return (await web.get("/v1/server")).raise_for_status().json()["queue"]["waiting"]


async def probe_health(web: httpx2.AsyncClient) -> list[float]:
    """Milliseconds of each of many health checks."""
    found = []
    for _ in range(PROBES):
        started = time.perf_counter()
        (await web.get("/healthz")).raise_for_status()
        found.append(1000 * (time.perf_counter() - started))
        await asyncio.sleep(PROBE_PAUSE_SECONDS)
    return found


@dataclass(frozen=True, slots=True)
class HeldLines:
    """The milliseconds of health checks while nobody waits and while clients do, and the server's memory in MB.

    The memory is that before, while the lines are held, and some time later. `cpu` are the milliseconds of the server's
    CPU time for a check, alone and waiting, and for a second in which lines are held and nobody asks.
    """

    alone: list[float]
    waiting: list[float]
    memory: dict[str, float]
    cpu: dict[str, float]


async def measure_held_lines(web: httpx2.AsyncClient, pid: int, clients: int, long_task: dict[str, Any]) -> HeldLines:
    """Measure what a number of waiting clients cost. `long_task` keeps the worker busy all the time."""
    await web.post("/v1", json=[{**long_task, "taskUUID": str(uuid.uuid4()), "deliveryMethod": "async"}])
    # Each request of a client looks through all its connections, so the checks have a client of their own.
    async with httpx2.AsyncClient(base_url=web.base_url) as checks:
        used = [cpu_seconds(pid)]
        alone = await probe_health(checks)
        used.append(cpu_seconds(pid))
        memory = {"before": status_bytes(pid, "VmRSS")}
        async with held_lines(web, clients):
            used.append(cpu_seconds(pid))
            waiting = await probe_health(checks)
            used.append(cpu_seconds(pid))
            memory["held"] = status_bytes(pid, "VmRSS")
            await asyncio.sleep(KEPT_SECONDS)
            used.append(cpu_seconds(pid))
            memory["later"] = status_bytes(pid, "VmRSS")
    cpu = {
        "alone": 1000 * (used[1] - used[0]) / PROBES,
        "waiting": 1000 * (used[3] - used[2]) / PROBES,
        "held": 1000 * (used[4] - used[3]) / KEPT_SECONDS,
    }
    megabytes = {name: round(found / 1e6, 1) for name, found in memory.items()}
    return HeldLines(alone, waiting, megabytes, {name: round(found, 2) for name, found in cpu.items()})
