"""Decides for each weight of the transformer whether it stays on the device or waits in host memory.

Knows the transformer's parts and bytes; knows no card and no plan.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
from torch import nn

from accel.weights.copy_engine import CopyEngine, make_engine
from accel.weights.streaming import WeightStream

# The layers of a block that depend on the timestep alone.
MODULATION_LAYERS = ("img_mod", "txt_mod")


@dataclass(frozen=True, slots=True)
class PlacementReport:
    """What is where: GiB on the device, GiB copied in a step of all blocks, and whether there are tables.

    `resident_gib` includes the buffers for streamed blocks. `host_gib` waits in host memory: the streamed blocks, and
    with tables the modulation layers.
    """

    resident_gib: float
    streamed_gib: float
    host_gib: float
    streamed_blocks: int
    blocks: int
    tables: bool

    def __str__(self) -> str:
        parts = [f"{self.resident_gib:.2f} GiB on the device"]
        if self.streamed_blocks:
            parts.append(
                f"{self.streamed_gib:.2f} GiB streamed a step ({self.streamed_blocks} of {self.blocks} blocks)"
            )
        if self.tables:
            parts.append("modulation from tables")
        return ", ".join(parts)


@dataclass(frozen=True, slots=True)
class Placement:
    """The streams of a transformer. `blocks` is None where all blocks are resident, `modulation` without tables."""

    report: PlacementReport
    blocks: WeightStream | None = None
    modulation: WeightStream | None = None


def place_transformer(
    transformer: QwenImageTransformer2DModel,
    device: torch.device,
    *,
    streamed_bytes: int = 0,
    tables: bool = False,
    engine: CopyEngine | None = None,
) -> Placement:
    """Move the transformer to a device, except for what waits in host memory. Its weights may be anywhere before.

    At least `streamed_bytes` of its blocks are streamed, or all blocks. With `tables` the modulation layers wait too.
    Raises `MemoryError` where the host memory cannot be had.
    """
    engine = engine or make_engine(device)
    blocks = [list(block.children()) for block in transformer.transformer_blocks]
    modulation = None
    if tables:
        layers = [[block.get_submodule(name) for name in MODULATION_LAYERS] for block in transformer.transformer_blocks]
        everywhere = range(len(layers))
        modulation = WeightStream(layers, everywhere, engine, repeated=False)
        blocks = [[part for part in block if part not in own] for block, own in zip(blocks, layers, strict=True)]
    streamed = streamed_blocks([module_bytes(block) for block in blocks], streamed_bytes)
    stream = WeightStream(blocks, streamed, engine) if streamed else None
    streams = [each for each in (stream, modulation) if each is not None]
    host = sum(sum(each.bytes_by_block.values()) for each in streams)
    waiting = {id(tensor) for each in streams for tensor in each.tensors}
    resident = _move_others(transformer, device, waiting) + (stream.device_bytes if stream else 0)
    report = PlacementReport(
        resident_gib=resident / 2**30,
        streamed_gib=sum(stream.bytes_by_block.values()) / 2**30 if stream else 0.0,
        host_gib=host / 2**30,
        streamed_blocks=len(streamed),
        blocks=len(blocks),
        tables=tables,
    )
    return Placement(report, stream, modulation)


def streamed_blocks(sizes: Sequence[int], wanted: int) -> tuple[int, ...]:
    """The numbers of the fewest blocks that have `wanted` bytes together, or of all blocks.

    They are spread evenly, so that the resident blocks between them give each copy time. The last block is one of them,
    and the first ones are not, because a copy starts with the step.
    """
    for count in range(len(sizes)):
        numbers = tuple((index + 1) * len(sizes) // count - 1 for index in range(count))
        if sum(sizes[number] for number in numbers) >= wanted:
            return numbers
    return tuple(range(len(sizes)))


def module_bytes(modules: Sequence[nn.Module]) -> int:
    """The bytes of all weights of some modules."""
    return sum(tensor.nbytes for module in modules for tensor in (*module.parameters(), *module.buffers()))


def _move_others(module: nn.Module, device: torch.device, waiting: Collection[int]) -> int:
    """Move all weights to a device except those whose id is `waiting`. Returns the bytes moved."""
    size = 0
    for tensor in (*module.parameters(), *module.buffers()):
        if id(tensor) not in waiting:
            tensor.data = tensor.data.to(device)
            size += tensor.nbytes
    return size
