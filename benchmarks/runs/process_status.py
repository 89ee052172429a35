"""The memory, the CPU time and the children of a process, as Linux counts them. Needs /proc."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

Figure = Literal["VmRSS", "VmHWM"]  # what is in RAM now, and the most that has been: see proc_pid_status(5)


def status_bytes(pid: int, figure: Figure) -> int:
    """A figure of a process in bytes. Raises `OSError` for one that has ended, and without /proc."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{figure}:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(f"process {pid} has ended")  # its parent has not waited for it


def cpu_seconds(pid: int) -> float:
    """The CPU time that a process has used so far, in hundredths. Raises `OSError` for one that has ended."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()  # see proc_pid_stat(5)
    user, system = int(after_name[11]), int(after_name[12])
    return (user + system) / os.sysconf("SC_CLK_TCK")


def children_of(pid: int, word: str) -> Iterator[int]:
    """The ids of a process's children whose command line has this word."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):  # each thread has those that it started
        with contextlib.suppress(OSError):
            for child in children.read_text().split():
                if word.encode() in Path(f"/proc/{child}/cmdline").read_bytes():
                    yield int(child)
