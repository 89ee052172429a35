"""Many clients, and clients that leave: every task is answered, and no picture depends on those before it."""

import base64
import contextlib
import os
import random
import signal
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from benchmarks.runs.process_status import status_bytes
from tests.chaos.figures import record, repeats
from tests.chaos.servers import KEY, ChaosServer, chaos_server
from tests.fakes import picture

pytestmark = pytest.mark.chaos

CLIENTS = 64
# Of the renderer in the second half of a soak. 500 requests took it from 607 to 664 MB.
MOST_GROWTH_MB = 100
CLEAN = {"seed": 7, "steps": 4, "outputFormat": "PNG", "width": 256, "height": 256}
PICTURE = "data:image/png;base64," + base64.b64encode(picture(256, 256)).decode()
MODES: list[dict[str, Any]] = [
    {},
    {"numberResults": 3},
    {"CFGScale": 1, "scheduler": "DPM++ 2M"},
    {"acceleratorOptions": {"fbCache": True}, "steps": 8},
    {"seedImage": PICTURE, "strength": 0.6},
    {"seedImage": PICTURE, "maskImage": PICTURE, "strength": 0.9},
    {"model": "runware:108@20", "inputs": {"referenceImages": [PICTURE]}},
    {"outputType": "base64Data", "outputFormat": "WEBP"},
    {"width": 100},
    {"positivePrompt": "x" * 40_000},
]


def test_many_clients_at_once(tmp_path: Path) -> None:
    with chaos_server(tmp_path) as server:
        server.send()

        def draw(_: int) -> float:
            started = time.monotonic()
            item = server.send()
            assert "imageURL" in item, item
            return time.monotonic() - started

        with ThreadPoolExecutor(CLIENTS + 1) as pool:
            waits = pool.map(draw, range(CLIENTS))
            pings = [ping(server) for _ in range(repeats(50))]
            seconds = sorted(waits)
        assert server.terminate() == 0
    pings.sort()
    record(
        "many clients",
        clients=CLIENTS,
        longest_seconds=round(seconds[-1], 2),
        ping_p50_ms=round(1000 * pings[len(pings) // 2], 1),
        ping_p99_ms=round(1000 * pings[len(pings) * 99 // 100], 1),
    )


def ping(server: ChaosServer) -> float:
    """The seconds of an answer that needs no worker."""
    started = time.monotonic()
    body = [{"taskType": "ping", "ping": True}]
    assert httpx2.post(f"{server.url}/v1", json=body, headers=KEY).status_code == 200
    return time.monotonic() - started


def test_after_a_soak_of_all_modes_with_aborts_a_picture_is_that_of_a_fresh_server(tmp_path: Path) -> None:
    """Requests of all modes, good and bad, a third of them given up, and a cancelled one now and then; then a kill."""
    chance, requests = random.Random(17), repeats(40)
    with chaos_server(tmp_path / "fresh") as server:
        expected = drawn(server)
    answered, given_up, refused, renderer_mb = 0, 0, 0, list[float]()
    with chaos_server(tmp_path / "soaked") as server:
        for number in range(requests):
            if number % max(1, requests // 4) == 0:
                renderer_mb.append(status_bytes(server.worker(), "VmHWM") // 10**6)
            mode = chance.choice(MODES) | {"seed": chance.randrange(1000), "taskUUID": str(uuid.uuid4())}
            wait = chance.choice([None, None, 0.05 + chance.random()])
            with contextlib.suppress(httpx2.TimeoutException):
                item = server.send(timeout=wait, **mode) if wait else server.send(**mode)
                answered += 1
                refused += "code" in item
                assert item.get("code") not in ("internalServerError", "inferenceError"), item
                continue
            given_up += 1
            if chance.random() < 0.5:
                cancel(server, mode["taskUUID"])
        assert drawn(server) == expected
        renderer_mb.append(status_bytes(server.worker(), "VmHWM") // 10**6)
        assert renderer_mb[-1] - renderer_mb[len(renderer_mb) // 2] < MOST_GROWTH_MB  # each mode was drawn before
        worker = server.worker()
        os.kill(worker, signal.SIGKILL)
        server.wait_for_next_worker(worker)
        assert drawn(server) == expected
        assert server.terminate() == 0
    figures = {"answered": answered, "refused": refused, "given_up": given_up, "renderer_mb": renderer_mb}
    record("soak", requests=requests, **figures)


def cancel(server: ChaosServer, task_uuid: str) -> None:
    """Cancel a task, whatever has become of it."""
    body = [{"taskType": "cancelTask", "taskUUID": task_uuid}]
    assert httpx2.post(f"{server.url}/v1", json=body, headers=KEY, timeout=60).status_code < 500


def drawn(server: ChaosServer) -> bytes:
    """The bytes of one picture."""
    return httpx2.get(server.send(**CLEAN)["imageURL"]).content
