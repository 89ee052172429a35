import gc
import runpy
import signal
import sys
from pathlib import Path

import pytest

from tests.live import LiveServer


def test_a_collection_in_a_fork_passes_over_the_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers = {}
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    gc.unfreeze()
    runpy.run_module("server.jobs.workers.process.preload")
    assert handlers == {signal.SIGINT: signal.SIG_IGN, signal.SIGTERM: signal.SIG_IGN}
    assert {"torch", "diffusers", "transformers"} <= sys.modules.keys()
    assert gc.isenabled()
    assert gc.get_freeze_count() > 100_000


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
def test_the_imports_leave_one_thread(live: LiveServer) -> None:
    """A fork has none of the others, and whatever they had locked stays locked in it. OpenBLAS ends its own before."""
    if "Device: cpu" not in live.greeting:
        pytest.skip("the worker of a GPU is not forked")
    (forker,) = (child for child in children(live.process.pid) if b"forkserver" in (child / "cmdline").read_bytes())
    status = dict(line.split(":\t") for line in (forker / "status").read_text().splitlines())
    assert status["Threads"] == "1"
    assert "libtorch" in (forker / "maps").read_text()


def children(pid: int) -> list[Path]:
    """The processes that a process has started, in the folder of the system."""
    started = [
        child for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]
    return [Path("/proc", child) for child in started]
