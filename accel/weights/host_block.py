"""Weights in one buffer of host memory, which a device copies from by itself.

Works with parameters and buffers of any dtype and layout. Knows tensors; knows no order of copies.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from accel.weights.copy_engine import CopyEngine

# Device memory is aligned for the widest vector loads of matrix products.
_ALIGNMENT = 256


class HostBlock:
    """Some weights of a network, moved into one buffer of host memory.

    The weights use that buffer, or a copy of it on the device. They are never changed, so they are not copied back.
    """

    def __init__(self, tensors: Sequence[torch.Tensor], engine: CopyEngine) -> None:
        """Move the weights into host memory. Raises `MemoryError`."""
        self.tensors = list(tensors)
        self._places: list[_Place] = []
        offset = 0
        for tensor in self.tensors:
            stride = torch.empty_like(tensor, device="meta").stride()  # dense, in the order of the original
            self._places.append(_Place(offset, tensor.dtype, tensor.shape, stride))
            offset += -(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT
        self.buffer = engine.allocate_host(offset)
        self._home = [place.view(self.buffer) for place in self._places]
        for tensor, home in zip(self.tensors, self._home, strict=True):
            home.copy_(tensor.data)
            tensor.data = home

    def bind(self, buffer: torch.Tensor) -> None:
        """Let the modules use the weights in a buffer on the device."""
        for tensor, place in zip(self.tensors, self._places, strict=True):
            tensor.data = place.view(buffer)

    def unbind(self) -> None:
        """Let the modules have the weights in host memory again."""
        for tensor, home in zip(self.tensors, self._home, strict=True):
            tensor.data = home


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a tensor lies in the buffer of its block: the first byte, and its layout."""

    offset: int
    dtype: torch.dtype
    shape: torch.Size
    stride: tuple[int, ...]

    def view(self, buffer: torch.Tensor) -> torch.Tensor:
        """The tensor in a buffer."""
        size = self.shape.numel() * self.dtype.itemsize
        return buffer[self.offset : self.offset + size].view(self.dtype).as_strided(self.shape, self.stride)


def weights_of(modules: Iterable[nn.Module]) -> list[torch.Tensor]:
    """The parameters and buffers of some modules, each once."""
    found = (tensor for module in modules for tensor in (*module.parameters(), *module.buffers()))
    return list({id(tensor): tensor for tensor in found}.values())
