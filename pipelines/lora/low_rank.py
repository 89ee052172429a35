"""Turns the deltas of a request's LoRAs into what compiled blocks take: additions to layers, as inputs of the graph.

Knows names of layers and the kinds of deltas; knows no file.
"""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, cast

from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
from torch import nn

from accel.kernels.low_rank import LAYERS, RANK_MULTIPLE, BlockLowRank, LowRank, join_low_rank, zero_low_rank
from accel.weights.placement import MODULATION_LAYERS
from pipelines.lora.deltas import Delta, LoRA

if TYPE_CHECKING:
    from accel.weights.quantized.base import AnyLinear

Weighted = Sequence[tuple[Delta, float]]

_IN_BLOCK = re.compile(r"transformer_blocks\.(?P<number>\d+)\.(?P<layer>.+)")


def in_graph(name: str) -> bool:
    """Whether a module of the transformer is part of a compiled block, by its name."""
    return _place(name) is not None


def low_rank_by_block(
    deltas: Mapping[str, Weighted], transformer: QwenImageTransformer2DModel
) -> dict[nn.Module, BlockLowRank] | None:
    """The additions to each block that has any. None if a block has deltas that are no low-rank additions.

    `deltas` are by the names of modules. Those outside the graph do not count.
    """
    blocks: dict[int, dict[str, LowRank]] = {}
    for name, weighted in deltas.items():
        if (place := _place(name)) is None:
            continue
        number, layer = place
        parts = [(delta.down, delta.up, weight) for delta, weight in weighted if isinstance(delta, LoRA)]
        if layer not in LAYERS or len(parts) < len(weighted):
            return None
        blocks.setdefault(number, {})[layer] = join_low_rank(parts)
    zeros: dict[str, LowRank] = {}
    return {
        transformer.transformer_blocks[number]: _complete(transformer.transformer_blocks[number], added, zeros)
        for number, added in blocks.items()
    }


def _place(name: str) -> tuple[int, str] | None:
    """The block and the layer of a module that is part of a compiled block. None for any other."""
    found = _IN_BLOCK.fullmatch(name)
    if found is None or found["layer"].partition(".")[0] in MODULATION_LAYERS:
        return None
    return int(found["number"]), found["layer"]


def _complete(block: nn.Module, added: Mapping[str, LowRank], zeros: dict[str, LowRank]) -> BlockLowRank:
    """An addition for every layer. Layers share no zeros, because the compiler notices a tensor that is twice."""
    like = next(iter(added.values())).down
    for name in LAYERS:
        if name not in added and name not in zeros:
            layer = cast("AnyLinear", block.get_submodule(name))
            zeros[name] = zero_low_rank(layer.in_features, layer.out_features, RANK_MULTIPLE, like)
    return {name: added.get(name) or zeros[name] for name in LAYERS}
