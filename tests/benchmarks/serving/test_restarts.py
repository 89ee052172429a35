import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import httpx2
import pytest

from benchmarks.serving.restarts import WORKER, measure_restarts, worker_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


class FakeServer:
    """Starts a worker, and the next one when it is asked whether it is ready after the one before has gone."""

    def __init__(self) -> None:
        self._workers = ExitStack()
        self.tasks = 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()", WORKER]
        worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._worker = self._workers.enter_context(worker)
        assert worker.stdout is not None
        worker.stdout.readline()  # it has its command line

    def close(self) -> None:
        self._worker.kill()
        self._workers.close()

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/v1":
            self.tasks += 1
            return httpx2.Response(200)
        if self._worker.poll() is None:
            return httpx2.Response(200)
        self.start()
        return httpx2.Response(503)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    server = FakeServer()
    yield server
    server.close()


def test_each_kill_is_timed_until_the_server_is_ready(server: FakeServer) -> None:
    transport = httpx2.MockTransport(server)
    with httpx2.Client(base_url="http://box", transport=transport) as web:
        found = measure_restarts(web, os.getpid(), 3, {"taskType": "imageInference"})
    assert len(found.wall) == len(found.cpu) == server.tasks == 3
    assert min(found.wall) > 0
    assert min(found.cpu) >= 0


def test_a_process_without_a_worker() -> None:
    with pytest.raises(LookupError, match="has no worker"):
        worker_of(2**30)
