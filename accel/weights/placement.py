"""Decides for each weight of the transformer whether it stays on the device or waits in host memory.

Knows the transformer's parts and bytes; knows no card and no plan.
"""

from collections.abc import Collection
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
    tables: bool


@dataclass(frozen=True, slots=True)
class PlacedWeights:
    """The streams of a transformer. `blocks` is None where all blocks are resident, `modulation` without tables."""

    report: PlacementReport
    blocks: WeightStream | None = None
    modulation: WeightStream | None = None


@dataclass(frozen=True, slots=True)
class HostShare:
    """What of a transformer waits in host memory: some of its blocks, and with `tables` all modulation layers."""

    blocks: int = 0
    tables: bool = False

    def numbers(self, depth: int) -> tuple[int, ...]:
        """The numbers of the blocks that wait, of a transformer of `depth` blocks.

        They are spread evenly, so that the resident blocks between them give each copy time. The last block is one of
        them, and the first ones are not, because a copy starts with the step.
        """
        count = min(self.blocks, depth)
        return tuple((index + 1) * depth // count - 1 for index in range(count))

    def waits(self, name: str, depth: int) -> bool:
        """Whether a module waits, by its name in the transformer."""
        kind, _, rest = name.partition(".")
        number, _, layer = rest.partition(".")
        if kind != "transformer_blocks" or not number.isdecimal():
            return False
        if layer.partition(".")[0] in MODULATION_LAYERS and self.tables:
            return True
        return int(number) in self.numbers(depth)


EVERYTHING_RESIDENT = HostShare()


def place_transformer(
    transformer: QwenImageTransformer2DModel,
    device: torch.device,
    share: HostShare = EVERYTHING_RESIDENT,
    *,
    engine: CopyEngine | None = None,
) -> PlacedWeights:
    """Move the transformer to a device, except for what waits in host memory. Its weights may be anywhere before.

    Raises `MemoryError` where the host memory cannot be had.
    """
    engine = engine or make_engine(device)
    blocks = [list(block.children()) for block in transformer.transformer_blocks]
    modulation = None
    if share.tables:
        layers = [[block.get_submodule(name) for name in MODULATION_LAYERS] for block in transformer.transformer_blocks]
        modulation = WeightStream(layers, range(len(layers)), engine, repeated=False)
        blocks = [[part for part in block if part not in own] for block, own in zip(blocks, layers, strict=True)]
    streamed = share.numbers(len(blocks))
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
        tables=share.tables,
    )
    return PlacedWeights(report, stream, modulation)


def _move_others(module: nn.Module, device: torch.device, waiting: Collection[int]) -> int:
    """Move all weights to a device except those whose id is `waiting`. Returns the bytes moved."""
    size = 0
    for tensor in (*module.parameters(), *module.buffers()):
        if id(tensor) not in waiting:
            tensor.data = tensor.data.to(device)
            size += tensor.nbytes
    return size
