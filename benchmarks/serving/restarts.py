"""How long a server is without its worker after a kill, and what the start of the next worker costs."""

import os
import signal
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from benchmarks.runs.process_status import children_of, cpu_seconds

WORKER = "spawn_main"  # in the command line of a worker
_PAUSE = 0.01


@dataclass(frozen=True, slots=True)
class Restarts:
    """Milliseconds of each restart: from the kill until the server is ready, and of the CPU until then."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)


def measure_restarts(web: httpx2.Client, pid: int, kills: int, task: Mapping[str, Any]) -> Restarts:
    """Kill the idle worker of a server several times. It draws a picture before each kill, so none is started late."""
    found = Restarts()
    for _ in range(kills):
        web.post("/v1", json=[{**task, "taskUUID": str(uuid.uuid4())}]).raise_for_status()
        os.kill(worker_of(pid), signal.SIGKILL)
        killed = time.perf_counter()
        _wait_for(web, 503)
        _wait_for(web, 200)
        found.wall.append(1000 * (time.perf_counter() - killed))
        found.cpu.append(1000 * cpu_seconds(worker_of(pid)))
    return found


def worker_of(pid: int) -> int:
    """The id of a server's only worker. Raises `LookupError` without one."""
    for child in children_of(pid, WORKER):
        return child
    raise LookupError(f"process {pid} has no worker")


def _wait_for(web: httpx2.Client, status: int) -> None:
    while web.get("/readyz").status_code != status:
        time.sleep(_PAUSE)
