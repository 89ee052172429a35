import os
import subprocess
import sys
import time

import pytest

from benchmarks.runs.process_status import children_of, cpu_seconds, status_bytes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_the_memory_of_this_process() -> None:
    assert 10**6 < status_bytes(os.getpid(), "VmRSS") < 10**11
    assert 10**6 < status_bytes(os.getpid(), "VmHWM") < 10**11


def test_the_cpu_time_of_this_process() -> None:
    before = cpu_seconds(os.getpid())
    while cpu_seconds(os.getpid()) == before:
        pass
    assert 0 < before < time.process_time()


def test_a_process_that_has_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(ProcessLookupError, match=f"process {child.pid} has ended"):
            status_bytes(child.pid, "VmHWM")
    with pytest.raises(FileNotFoundError):
        status_bytes(2**30, "VmHWM")
    with pytest.raises(FileNotFoundError):
        cpu_seconds(2**30)


def test_the_children_of_this_process() -> None:
    command = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()", "a-word-of-its-own"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()  # it has its command line
        assert list(children_of(os.getpid(), "a-word-of-its-own")) == [child.pid]
        assert list(children_of(os.getpid(), "another-word")) == []
        child.communicate()
    assert list(children_of(os.getpid(), "a-word-of-its-own")) == []
