"""Measures the peak memory that a piece of work takes beyond what was in use before. Knows no model.

On a GPU PyTorch counts it. On a CPU the Linux kernel counts the process's pages, with the libraries' own buffers. Freed
memory is given back first: the work could reuse it, and its peak would look too small.
"""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

_PROCESS = Path("/proc/self")
_RESET_PEAK = "5"  # resets VmHWM, see proc_pid_clear_refs(5)


def peak_mib(work: Callable[[], Any], device: torch.device) -> float:
    """MiB at the peak of the work, less MiB before it. Raises `OSError` on a CPU without Linux's /proc."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    ctypes.CDLL(None).malloc_trim(0)
    (_PROCESS / "clear_refs").write_text(_RESET_PEAK)
    before = _kib("VmRSS")
    work()
    return (_kib("VmHWM") - before) / 2**10


def _kib(name: str) -> int:
    """A figure of the process status in KiB."""
    lines = (_PROCESS / "status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))
