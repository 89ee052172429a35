"""How long a server is without its worker after a kill, and what the start of the next worker costs."""

import contextlib
import os
import signal
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from benchmarks.runs.process_status import children_of, cpu_seconds

SPAWNED, FORKED = "spawn_main", "forkserver"  # in the command line of a worker, by how it was started
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
        worker = worker_of(pid)
        os.kill(worker, signal.SIGKILL)
        killed = time.perf_counter()
        _wait_for_another(pid, worker)
        _wait_until_ready(web)
        found.wall.append(1000 * (time.perf_counter() - killed))
        found.cpu.append(1000 * cpu_seconds(worker_of(pid)))
    return found


def worker_of(pid: int) -> int:
    """The id of a server's only worker. Raises `LookupError` without one."""
    for child in children_of(pid, SPAWNED):
        return child
    for parent in children_of(pid, FORKED):
        for child in children_of(parent, FORKED):
            return child
    raise LookupError(f"process {pid} has no worker")


def _wait_for_another(pid: int, worker: int) -> None:
    """Wait until a server has another worker. It is ready again too soon for a client to see that it was not."""
    while True:
        with contextlib.suppress(LookupError):
            if worker_of(pid) != worker:
                return
        time.sleep(_PAUSE)


def _wait_until_ready(web: httpx2.Client) -> None:
    while web.get("/readyz").status_code != 200:
        time.sleep(_PAUSE)
