"""A device with a clock: copies and computations take time on two queues, and memory is wrong until it is copied."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class Event:
    """Passes at a time of the device's clock."""

    time: float
    landed: tuple["Copy", ...] = ()


@dataclass
class Copy:
    """A copy under way. The target holds ones in every bit until something waits for the copy."""

    target: torch.Tensor
    source: torch.Tensor
    start: float
    end: float

    @property
    def buffer(self) -> int:
        return self.target.untyped_storage().data_ptr()


@dataclass
class FakeEngine:
    """A `CopyEngine` that takes `seconds_per_byte` for a copy, and `seconds` for what runs between two marks."""

    seconds_per_byte: float = 1.0
    seconds: float = 100.0
    copy_clock: float = 0.0
    compute_clock: float = 0.0
    copies: list[Copy] = field(default_factory=list)
    runs: list[tuple[float, float, tuple[int, ...]]] = field(default_factory=list)
    allocated: list[int] = field(default_factory=list)
    _waited: list[Copy] = field(default_factory=list)
    _started: float = 0.0

    def allocate_host(self, size: int) -> torch.Tensor:
        return torch.empty(size, dtype=torch.uint8)

    def allocate_device(self, size: int) -> torch.Tensor:
        self.allocated.append(size)
        return torch.full((size,), 255, dtype=torch.uint8)

    def copy(self, target: torch.Tensor, source: torch.Tensor, after: Event) -> Event:
        start = max(self.copy_clock, after.time)
        self.copy_clock = start + source.nbytes * self.seconds_per_byte
        done = Copy(target, source, start, self.copy_clock)
        target.fill_(255)  # whoever does not wait reads NaN
        self.copies.append(done)
        return Event(done.end, (done,))

    def wait(self, event: Event) -> None:
        self.compute_clock = max(self.compute_clock, event.time)
        for copy in event.landed:
            copy.target.copy_(copy.source)
            self._waited.append(copy)

    def mark(self) -> Event:
        """Everything since the last mark was one computation that read the copies that were waited for."""
        start, self.compute_clock = self.compute_clock, self.compute_clock + (self.seconds if self._waited else 0)
        if self._waited:
            self.runs.append((start, self.compute_clock, tuple(copy.buffer for copy in self._waited)))
        self._waited.clear()
        return Event(self.compute_clock)

    def overwritten_while_read(self) -> Sequence[Copy]:
        """The copies that wrote to a buffer while a computation read it."""
        return [
            copy
            for copy in self.copies
            for start, end, buffers in self.runs
            if copy.buffer in buffers and copy.start < end and start < copy.end
        ]
