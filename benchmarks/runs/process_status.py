"""The memory of a process, as Linux counts it. Needs /proc."""

from pathlib import Path
from typing import Literal

Figure = Literal["VmRSS", "VmHWM"]  # what is in RAM now, and the most that has been: see proc_pid_status(5)


def status_bytes(pid: int, figure: Figure) -> int:
    """A figure of a process in bytes. Raises `OSError` for one that has ended, and without /proc."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{figure}:"):
            return int(line.split()[1]) * 1024
    raise ProcessLookupError(f"process {pid} has ended")  # its parent has not waited for it
