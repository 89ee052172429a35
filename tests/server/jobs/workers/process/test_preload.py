import subprocess
import sys

import pytest

from tests.live import server_environment

CODE = """
import gc, signal, sys
import server.jobs.workers.process.preload
assert {"torch", "diffusers", "transformers"} <= sys.modules.keys()
assert signal.getsignal(signal.SIGINT) == signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
assert gc.isenabled() and gc.get_freeze_count() > 100_000
threads = [line for line in open("/proc/self/status") if line.startswith("Threads:")]
assert threads == ["Threads:\\t1\\n"], threads
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
def test_the_imports_leave_one_thread() -> None:
    """A fork has none of the others, and whatever they had locked stays locked in it. OpenBLAS ends its own before."""
    environment = server_environment(OPENBLAS_NUM_THREADS="1")
    done = subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=False, env=environment, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
