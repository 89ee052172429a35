"""Lets the weights of a network leave the device for host memory, and come back.

Weights never change, so they are copied to host memory once. Knows tensors; knows no model and no budget.
"""

from collections.abc import Iterable

import torch

from accel.weights.copy_engine import CopyEngine
from accel.weights.host_block import HostBlock

# Weights of about this many bytes are one block: the device has room for a block while its weights move.
_BLOCK_BYTES = 2**30


class ParkedWeights:
    """The weights of a model, on the device or in host memory. They are on the device at first."""

    def __init__(self, tensors: Iterable[torch.Tensor], engine: CopyEngine) -> None:
        self._groups = list(_groups(tensors))
        self._engine = engine
        self._blocks: list[HostBlock] = []
        self.parked = False

    @property
    def bytes(self) -> int:
        """The bytes of the weights that move."""
        return sum(tensor.nbytes for group in self._groups for tensor in group)

    @property
    def host_bytes(self) -> int:
        """The bytes of host memory that the copies take, also while the weights are on the device."""
        return sum(block.buffer.nbytes for block in self._blocks)

    def park(self) -> None:
        """Move the weights to host memory. Raises `MemoryError`; then they are all on the device."""
        if self.parked:
            return
        try:
            for number, group in enumerate(self._groups):
                if number < len(self._blocks):
                    self._blocks[number].unbind()
                else:
                    self._blocks.append(HostBlock(group, self._engine))
        except MemoryError:
            self.unpark(force=True)
            raise
        self.parked = True

    def unpark(self, *, force: bool = False) -> None:
        """Move the weights to the device. With `force` also those of a move that was interrupted."""
        if not (self.parked or force):
            return
        copied = []
        for block in self._blocks:
            buffer = self._engine.allocate_device(block.buffer.nbytes)
            copied.append(self._engine.copy(buffer, block.buffer, self._engine.mark()))
            block.bind(buffer)
        for event in copied:
            self._engine.wait(event)
        self.parked = False


def _groups(tensors: Iterable[torch.Tensor]) -> Iterable[list[torch.Tensor]]:
    group: list[torch.Tensor] = []
    for tensor in {id(tensor): tensor for tensor in tensors}.values():
        group.append(tensor)
        if sum(each.nbytes for each in group) >= _BLOCK_BYTES:
            yield group
            group = []
    if group:
        yield group
