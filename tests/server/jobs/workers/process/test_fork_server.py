import sys
from pathlib import Path

import pytest

from server.jobs.workers.process import fork_server
from server.jobs.workers.process.fork_server import begun_imports, context_of
from tests.server.jobs.workers.process.forks import preloading

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")


def running() -> bool:
    """Whether this process has a process that forks, and that has not ended."""
    pid = fork_server.process_id()
    return pid is not None and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


def test_only_workers_of_the_cpu_of_linux_are_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [context_of(device).get_start_method() for device in ("cpu", "cuda:0", "mps")] == [
        "forkserver",
        "spawn",
        "spawn",
    ]
    monkeypatch.setattr(sys, "platform", "darwin")
    assert context_of("cpu").get_start_method() == "spawn"


def test_the_imports_run_beside_the_block_and_end_with_it() -> None:
    with preloading("endless_preload"):
        with begun_imports(["cuda:0"]):
            assert not running()
        with begun_imports(["cpu"]):
            assert running()
        assert not running()
        fork_server.end()  # nothing is left to end
