"""Keeps blocks of weights in host memory, and copies each to the device before it runs.

Two buffers on the device take turns: while one block runs, the next one is copied. A buffer is written again only when
the block in it has run. Each block is one copy. Works with parameters and buffers of any dtype; knows modules and
tensors, and nothing of what they compute.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from accel.weights.copy_engine import CopyEngine, Event
from accel.weights.host_block import HostBlock, weights_of

BUFFERS = 2


class WeightStream:
    """Blocks in order, some of which wait in host memory. The others are not touched.

    Between two uses the weights of a streamed block are its copy in host memory. So a LoRA or a checksum can read them,
    and an interrupted forward leaves nothing behind.
    """

    def __init__(
        self,
        blocks: Sequence[Sequence[nn.Module]],
        streamed: Collection[int],
        engine: CopyEngine,
        *,
        repeated: bool = True,
    ) -> None:
        """Move the blocks whose numbers are `streamed` into host memory, one at a time. A block is a few modules.

        `repeated` means that the first block runs again after the last one, so it is copied in advance. Raises
        `MemoryError`.
        """
        self._repeated = repeated
        self._engine = engine
        self._blocks = {number: HostBlock(weights_of(blocks[number]), engine) for number in sorted(streamed)}
        self._depth = len(blocks)
        self._slots: list[_Slot] = []

    @property
    def bytes_by_block(self) -> dict[int, int]:
        """The bytes of each streamed block. Their sum is streamed in a forward of all blocks."""
        return {number: block.buffer.nbytes for number, block in self._blocks.items()}

    @property
    def tensors(self) -> Iterator[torch.Tensor]:
        """The weights of all streamed blocks."""
        for block in self._blocks.values():
            yield from block.tensors

    @property
    def device_bytes(self) -> int:
        """The bytes of the buffers on the device while they are allocated."""
        return min(BUFFERS, len(self._blocks)) * max(self.bytes_by_block.values(), default=0)

    @contextmanager
    def loaded(self, number: int, end: int) -> Iterator[None]:
        """Have the weights of a block on the device inside the `with`, and copy the next ones before block `end`.

        A block that is on the device already is not copied again.
        """
        self._copy_ahead(number, end)
        block = self._blocks.get(number)
        if block is None:
            yield
            return
        slot = next(slot for slot in self._slots if slot.block == number)
        self._engine.wait(slot.copied)
        block.bind(slot.buffer)
        try:
            yield
        finally:
            block.unbind()
            slot.used = self._engine.mark()
            if self._repeated and number == self._depth - 1:
                self._copy_ahead(0, number)

    def release(self) -> None:
        """Free the buffers on the device. They are allocated again when a block is loaded."""
        for slot in self._slots:
            self._engine.wait(slot.copied)
        self._slots.clear()

    def _copy_ahead(self, start: int, end: int) -> None:
        """Start to copy the first streamed blocks from `start` on, as many as there are buffers."""
        coming = [number for number in self._blocks if start <= number < end][:BUFFERS]
        for number in coming:
            if any(slot.block == number for slot in self._slots):
                continue
            slot = self._free_slot(coming)
            source = self._blocks[number].buffer
            slot.copied = self._engine.copy(slot.buffer[: source.nbytes], source, slot.used)
            slot.block = number

    def _free_slot(self, coming: Sequence[int]) -> "_Slot":
        if not self._slots:
            size = max(block.buffer.nbytes for block in self._blocks.values())
            for _ in range(min(BUFFERS, len(self._blocks))):
                buffer = self._engine.allocate_device(size)
                self._slots.append(_Slot(buffer, used=self._engine.mark()))
        return next(slot for slot in self._slots if slot.block not in coming)


@dataclass(slots=True)
class _Slot:
    """A buffer on the device: the block in it, when that was copied, and when it last ran."""

    buffer: torch.Tensor
    used: Event
    copied: Event = None
    block: int | None = None
