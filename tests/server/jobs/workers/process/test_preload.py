import gc
import runpy
import signal
import sys
from pathlib import Path

import pytest

from benchmarks.runs.process_status import children_of
from benchmarks.serving.restarts import FORKED
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
    (forker,) = children_of(live.process.pid, FORKED)
    status = dict(line.split(":\t") for line in Path(f"/proc/{forker}/status").read_text().splitlines())
    assert status["Threads"] == "1"
    assert "libtorch" in Path(f"/proc/{forker}/maps").read_text()
