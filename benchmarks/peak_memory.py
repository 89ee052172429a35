"""The peak of memory that a piece of work takes beyond what was in use before it. Knows no model.

On a GPU PyTorch counts it. On Linux the kernel counts the process's pages, the libraries' own buffers among them;
there, what earlier work has freed is first given back, so that it is not taken for room that costs nothing.
"""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

_PROCESS = Path("/proc/self")
_FORGET_THE_PEAK = "5"  # what `clear_refs` takes to reset VmHWM, see proc_pid_clear_refs(5)


def peak_mib(work: Callable[[], Any], device: torch.device) -> float:
    """MiB at the highest point of the work, less MiB before it. Raises `OSError` on a CPU without Linux's /proc."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    ctypes.CDLL(None).malloc_trim(0)
    (_PROCESS / "clear_refs").write_text(_FORGET_THE_PEAK)
    before = _kib("VmRSS")
    work()
    return (_kib("VmHWM") - before) / 2**10


def _kib(name: str) -> int:
    """A figure of the process's status."""
    lines = (_PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
