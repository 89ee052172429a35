"""Runs a render that fits the device, and learns from the memory that it took.

Knows torch's counters of memory; knows no render.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pipelines.models.planning.admission import Admission
from pipelines.models.planning.workload import Workload


@contextmanager
def admitted(admission: Admission | None, work: Workload, device: torch.device) -> Iterator[None]:
    """Raise `SizeError` for a request that cannot fit. Learn from the peak inside the `with`, or from running out."""
    if admission is None:
        yield
        return
    admission.check(work)
    before = _start_peak(device)
    try:
        yield
    except torch.OutOfMemoryError:
        admission.record_failure(work)
        raise
    if peak := _peak(device):
        admission.record(work, peak - before)


def _start_peak(device: torch.device) -> int:
    """Forget the peak so far. Returns the bytes that are allocated now."""
    if device.type != "cuda":
        return 0
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def _peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
