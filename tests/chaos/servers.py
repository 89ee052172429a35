"""Real servers that are mistreated: with a log of one's own, and with kills. Each one has the embedded checkpoint."""

import contextlib
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import httpx2

from benchmarks.runs.process_status import status_bytes
from benchmarks.serving.restarts import worker_of
from tests.live import COMMAND, server_environment

KEY = {"Authorization": "Bearer any"}
# A machine that is busy takes long to start a server and to answer a task. A server that hangs never does.
START_SECONDS, TASK_SECONDS = 180, 180
STOP_SECONDS = 20
_POLL_SECONDS = 0.1
NOTHING_MORE: Mapping[str, str] = MappingProxyType({})


class ChaosServer:
    """A server process of its own process group. It may be gone at any time."""

    def __init__(
        self,
        data_dir: Path,
        *flags: str,
        log: int | IO[Any] = subprocess.DEVNULL,
        environment: Mapping[str, str] = NOTHING_MORE,
        **options: Any,
    ) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        port = self.url.rpartition(":")[2]
        self.process = subprocess.Popen(
            [*COMMAND, "serve", "--port", port, "--data-dir", str(data_dir), "--weights", "embedded", *flags],
            stdout=log,
            stderr=subprocess.STDOUT,
            env=server_environment(**environment),
            start_new_session=True,
            **options,
        )

    def wait_ready(self, status: int = 200) -> None:
        """Wait until the server takes tasks, or until it says with another status that it does not."""
        self._until(lambda: httpx2.get(f"{self.url}/readyz").status_code == status, START_SECONDS, f"never {status}")

    def send(self, timeout: float = TASK_SECONDS, **changes: Any) -> dict[str, Any]:
        """Send a small task and return the first item of the answer."""
        task = {
            "taskType": "imageInference",
            "taskUUID": str(uuid.uuid4()),
            "model": "runware:108@1",
            "positivePrompt": "a large red circle at the center on a white background",
            "width": 128,
            "height": 128,
            "steps": 2,
        }
        answer = httpx2.post(f"{self.url}/v1", json=[task | changes], headers=KEY, timeout=timeout).json()
        return (answer.get("data") or answer["errors"])[0]

    def state(self, task_uuid: str) -> dict[str, Any]:
        """What `getResponse` answers for a task."""
        body = [{"taskType": "getResponse", "taskUUID": task_uuid}]
        answer = httpx2.post(f"{self.url}/v1", json=body, headers=KEY, timeout=TASK_SECONDS).json()
        return (answer.get("errors") or answer["data"])[0]

    def finish(self, task_uuid: str) -> dict[str, Any]:
        """Wait until a task has ended, and return its answer."""
        self._until(lambda: self.state(task_uuid).get("status") != "processing", TASK_SECONDS, f"{task_uuid} waits")
        return self.state(task_uuid)

    def worker(self) -> int:
        """The id of the worker process, as soon as there is one."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            with contextlib.suppress(LookupError):
                return worker_of(self.process.pid)
            time.sleep(0.02)
        raise AssertionError("the server has no worker")

    def wait_for_next_worker(self, before: int) -> None:
        """Wait until another worker than the one with an id takes tasks."""
        self._until(lambda: self.worker() != before, START_SECONDS, f"process {before} is still the worker")
        self.wait_ready()

    def peak_memory(self) -> int:
        """The most bytes that the process of the API has had in memory."""
        return status_bytes(self.process.pid, "VmHWM")

    def terminate(self) -> int:
        """Send SIGTERM and return the exit status. Fails when the server does not end in time."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """End the whole group at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS)

    def _until(self, condition: Any, seconds: float, message: str) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(httpx2.TransportError):
                if condition():
                    return
            assert self.process.poll() is None, f"the server ended with {self.process.returncode}"
            time.sleep(_POLL_SECONDS)
        raise AssertionError(message)


@contextlib.contextmanager
def chaos_server(data_dir: Path, *flags: str, **options: Any) -> Iterator[ChaosServer]:
    """A ready server. Whatever is left of it is killed at the end."""
    server = ChaosServer(data_dir, *flags, **options)
    try:
        server.wait_ready()
        yield server
    finally:
        server.kill()
