"""Measures the peak memory that a piece of work takes beyond what was in use before. Knows no model.

On a GPU PyTorch counts it. On a CPU the Linux kernel counts the process's pages, with the libraries' own buffers. Freed
memory is given back first: the work could reuse it, and its peak would look too small.
"""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.runs.process_status import status_bytes

_RESET_PEAK = "5"  # resets VmHWM, see proc_pid_clear_refs(5)


def peak_mib(work: Callable[[], Any], device: torch.device) -> float:
    """MiB at the peak of the work, less MiB before it. Raises `OSError` on a CPU without Linux's /proc."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text(_RESET_PEAK)
    before = status_bytes(os.getpid(), "VmRSS")
    work()
    return (status_bytes(os.getpid(), "VmHWM") - before) / 2**20
