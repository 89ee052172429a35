"""Lets a render begin that fits the device, and learns from the memory that it took.

Knows torch's counters of memory; knows no render.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pipelines.models.planning.admission import Admission
from pipelines.models.planning.workload import Workload


class MemoryMeter:
    """The memory of one render, over its parts: `running` is around each of them, and `record` after the last one.

    Nothing is learnt of a `shared` render: the counters of the device do not tell whose memory it is.
    """

    def __init__(self, admission: Admission | None, work: Workload, device: torch.device) -> None:
        """Raise `SizeError` for a request that cannot fit. Without an admission nothing is refused or learnt."""
        if admission is not None:
            admission.check(work)
        self._admission, self._work, self._device = admission, work, device
        self._before = _allocated(device)
        self._peak = 0
        self.shared = False

    @contextmanager
    def running(self) -> Iterator[None]:
        """Measure a part of the render, or learn that it ran out of memory."""
        _reset_peak(self._device)
        try:
            yield
        except torch.OutOfMemoryError:
            if self._admission is not None and not self.shared:
                self._admission.record_failure(self._work)
            raise
        self._peak = max(self._peak, _peak(self._device))

    def record(self) -> None:
        """Learn from the peak of all parts."""
        if self._admission is not None and self._peak and not self.shared:
            self._admission.record(self._work, self._peak - self._before)


def _allocated(device: torch.device) -> int:
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else 0


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak(device: torch.device) -> int:
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
