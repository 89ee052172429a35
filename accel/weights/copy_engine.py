"""Copies weights from host memory to the device, beside the computation.

A copy starts when an event has passed, and leaves an event behind. The engine of CUDA uses a stream of its own and
pinned memory. The engine of a CPU copies at once. Knows bytes; knows no modules.
"""

import mmap
from contextlib import suppress
from typing import Any, Protocol

import torch

# What a copy or a computation can wait for. None has always passed.
Event = Any


class CopyEngine(Protocol):
    """Allocates the buffers of both sides, copies between them, and orders copies and computations."""

    def allocate_host(self, size: int) -> torch.Tensor:
        """Return `size` bytes of host memory that copies can read without the CPU. Raises `MemoryError`."""
        ...

    def allocate_device(self, size: int) -> torch.Tensor:
        """Return `size` bytes on the device."""
        ...

    def copy(self, target: torch.Tensor, source: torch.Tensor, after: Event) -> Event:
        """Start to copy once `after` has passed. The returned event passes when the copy is complete."""
        ...

    def wait(self, event: Event) -> None:
        """Let the computations that are called from now on start after an event."""
        ...

    def mark(self) -> Event:
        """Return an event that passes when all computations that were called before have ended."""
        ...


class HostEngine:
    """The engine of a CPU, whose copies are complete when they return."""

    def allocate_host(self, size: int) -> torch.Tensor:
        """See `CopyEngine`."""
        return _bytes(size, "cpu")

    def allocate_device(self, size: int) -> torch.Tensor:
        """See `CopyEngine`."""
        return _bytes(size, "cpu")

    def copy(self, target: torch.Tensor, source: torch.Tensor, after: Event) -> Event:
        """See `CopyEngine`."""
        target.copy_(source)

    def wait(self, event: Event) -> None:
        """See `CopyEngine`."""

    def mark(self) -> Event:
        """See `CopyEngine`."""


class CudaEngine:
    """The engine of a CUDA device: copies run on a stream of their own, from pinned memory."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)

    def allocate_host(self, size: int) -> torch.Tensor:
        """See `CopyEngine`. The memory is pinned until its last tensor is freed."""
        memory = _PinnedMemory(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with torch.inference_mode(False):
            buffer = torch.frombuffer(memory, dtype=torch.uint8)
        memory.pin(buffer.data_ptr(), size)
        return buffer

    def allocate_device(self, size: int) -> torch.Tensor:
        """See `CopyEngine`."""
        return _bytes(size, self._device)

    def copy(self, target: torch.Tensor, source: torch.Tensor, after: Event) -> Event:
        """See `CopyEngine`."""
        with torch.cuda.stream(self._stream):
            if after is not None:
                self._stream.wait_event(after)
            target.copy_(source, non_blocking=True)
            target.record_stream(self._stream)  # if it is freed, its memory is not used again before the copy has ended
            return self._stream.record_event()

    def wait(self, event: Event) -> None:
        """See `CopyEngine`."""
        if event is not None:
            torch.cuda.current_stream(self._device).wait_event(event)

    def mark(self) -> Event:
        """See `CopyEngine`."""
        return torch.cuda.current_stream(self._device).record_event()


class _PinnedMemory(mmap.mmap):
    """Host memory that a CUDA device reads by itself.

    Registered by hand, because torch rounds its own pinned memory up to a power of two.
    """

    _address: int | None = None

    def pin(self, address: int, size: int) -> None:
        """Raises `MemoryError` where the system refuses."""
        error = int(_runtime().cudaHostRegister(address, size, 0))
        if error:
            _clear_last_error()
            raise MemoryError(
                f"{size / 2**30:.2f} GiB more of host memory cannot be pinned for weights (CUDA error {error}). "
                "Free host memory, raise the limit of locked memory (ulimit -l), or keep more weights on the card."
            )
        self._address = address

    def __del__(self) -> None:
        if self._address is not None:
            torch.cuda.synchronize()  # a copy ahead may still read it
            _runtime().cudaHostUnregister(self._address)


def _runtime() -> Any:
    """CUDA's runtime, for which torch has no type."""
    return torch.cuda.cudart()


def _clear_last_error() -> None:
    """Torch reports an error that CUDA still remembers at the next kernel, whatever that is. So one is started here."""
    with suppress(RuntimeError):
        torch.zeros(1, device="cuda")


def make_engine(device: torch.device) -> CopyEngine:
    """The engine of a device."""
    return CudaEngine(device) if device.type == "cuda" else HostEngine()


def _bytes(size: int, device: str | torch.device) -> torch.Tensor:
    with torch.inference_mode(False):  # the buffers outlive the render in which they may be made
        return torch.empty(size, dtype=torch.uint8, device=device)
