import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import httpx2
import pytest

from benchmarks.serving.restarts import FORKED, SPAWNED, measure_restarts, worker_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


WAITS = "import sys; print(flush=True); sys.stdin.read()"
FORKS = "import os, time; child = os.fork(); child and print(child, flush=True); time.sleep(3600)"


class FakeServer:
    """Starts a worker, and the next one when that has ended."""

    def __init__(self) -> None:
        self.tasks = 0
        self._closed = False
        self._worker, _ = start(WAITS, SPAWNED)
        self._thread = threading.Thread(target=self._start_again)
        self._thread.start()

    def _start_again(self) -> None:
        while not self._closed:
            with self._worker:
                self._worker.wait()
            self._worker, _ = start(WAITS, SPAWNED)

    def close(self) -> None:
        self._closed = True
        self._worker.kill()
        self._thread.join()
        with self._worker:
            self._worker.kill()

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.tasks += request.url.path == "/v1"
        return httpx2.Response(200)


def start(code: str, word: str) -> tuple["subprocess.Popen[bytes]", bytes]:
    """A process with a word in its command line, and the line that it has written."""
    command = [sys.executable, "-c", code, word]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    assert process.stdout is not None
    return process, process.stdout.readline()


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


def test_a_worker_that_is_forked() -> None:
    parent, child = start(FORKS, FORKED)
    with parent:
        assert worker_of(os.getpid()) == int(child)
        os.killpg(parent.pid, signal.SIGKILL)
