"""Workers that hang, or that die at each start."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from benchmarks.runs.process_status import children_of, status_bytes
from benchmarks.serving.restarts import FORKED
from tests.chaos.servers import ChaosServer, chaos_server

pytestmark = pytest.mark.chaos


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ChaosServer]:
    """A server that waits three seconds for a worker."""
    with chaos_server(tmp_path_factory.mktemp("impatient"), "--hang-seconds", "3") as server:
        yield server


def test_a_stopped_worker_is_ended_and_started_again(impatient: ChaosServer) -> None:
    """It was never noticed: its task and all behind it waited for ever."""
    impatient.send()  # from now on the seconds of a step are known
    os.kill(impatient.worker(), signal.SIGSTOP)
    failed = impatient.send()
    assert "The worker did not answer for " in failed["message"]
    assert "imageURL" in impatient.send()


def test_a_stopped_worker_is_noticed_without_a_task(impatient: ChaosServer) -> None:
    """The next task failed: nothing was asked of a worker that has no task."""
    worker = impatient.worker()
    os.kill(worker, signal.SIGSTOP)
    impatient.wait_for_next_worker(worker)
    assert "imageURL" in impatient.send()
    assert not Path(f"/proc/{worker}").exists()


def test_a_worker_that_dies_at_each_start_is_explained(tmp_path: Path) -> None:
    """It was started every second for ever, without a reason, and the waiting task was never answered."""
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(BROKEN_WORKER.format(flag=tmp_path / "broken"))
    environment = {"PYTHONPATH": f"{hook}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    with chaos_server(tmp_path / "data", environment=environment) as server:
        (tmp_path / "broken").touch()
        os.kill(server.worker(), signal.SIGKILL)
        server.wait_ready(503)
        failed = server.send()
        assert failed["code"] == "modelNotReady"
        assert "the driver is on fire" in failed["message"]
        not_ready = httpx2.get(f"{server.url}/readyz")
        assert not_ready.status_code == 503
        assert "the driver is on fire" in not_ready.json()["status"]
        assert server.send()["code"] == "modelNotReady"
        (tmp_path / "broken").unlink()
        server.wait_ready()
        assert "imageURL" in server.send()


BROKEN_WORKER = """
import os, pathlib, sys
if "multiprocessing.forkserver" in " ".join(sys.orig_argv):
    import server.jobs.workers.process.worker as worker
    real = worker.main
    def main(*arguments):
        if pathlib.Path("{flag}").exists():
            print("the driver is on fire", file=sys.stderr, flush=True)
            os.abort()
        real(*arguments)
    worker.main = main
"""


def test_a_server_that_is_starting_ends_at_once(tmp_path: Path) -> None:
    """SIGTERM took 5.5 seconds: what imports or loads reads no message."""
    server = ChaosServer(tmp_path)
    try:
        server.wait_ready(503)
        importing = list(children_of(server.process.pid, FORKED))
        assert server.terminate() == 0
        assert importing
        for process in importing:
            with pytest.raises((FileNotFoundError, ProcessLookupError)):
                status_bytes(process, "VmRSS")
    finally:
        server.kill()
