"""Low-rank additions to the Linear layers of a block, as inputs of its compiled graph.

The graph has an addition for every layer, so that it is the same for all LoRAs. Layers without one get zeros. Knows a
block's layers; knows no file and no request.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch.nn import functional

# The layers of a block that depend on the image and on the prompt. Those of the modulation are outside the graph.
LAYERS = (
    *(f"attn.{name}" for name in ("to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj")),
    *("attn.to_out.0", "attn.to_add_out"),
    *(f"{stream}_mlp.net.{name}" for stream in ("img", "txt") for name in ("0.proj", "2")),
)
# Products want multiples of this in bfloat16: 8 values are the 16 bytes of one load. Ranks 0 and 1 would be constants.
RANK_MULTIPLE = 8


class LowRank(NamedTuple):
    """Adds `up` [out, rank] · `scale` [rank] · `down` [rank, in] to the weight of a layer."""

    down: torch.Tensor
    scale: torch.Tensor
    up: torch.Tensor

    def add(self, sample: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """The output [..., out] of the layer for a sample [..., in], with the addition."""
        return output + functional.linear(functional.linear(sample, self.down) * self.scale, self.up)


BlockLowRank = Mapping[str, LowRank]  # by the names in `LAYERS`, all of them


def join_low_rank(parts: Sequence[tuple[torch.Tensor, torch.Tensor, float]]) -> LowRank:
    """One addition from several `(down, up, weight)`. A single one of a fitting rank is not copied."""
    downs, ups, weights = zip(*parts, strict=True)
    missing = -sum(len(down) for down in downs) % RANK_MULTIPLE
    scale = torch.cat([down.new_full((len(down),), weight) for down, weight in zip(downs, weights, strict=True)])
    if len(parts) == 1 and not missing:
        return LowRank(downs[0].contiguous(), scale, ups[0].contiguous())
    return LowRank(
        functional.pad(torch.cat(downs), (0, 0, 0, missing)),
        functional.pad(scale, (0, missing)),
        functional.pad(torch.cat(ups, dim=1), (0, missing)),
    )


def zero_low_rank(inputs: int, outputs: int, rank: int, like: torch.Tensor) -> LowRank:
    """An addition of nothing, in the dtype and on the device of a tensor."""
    return LowRank(like.new_zeros(rank, inputs), like.new_zeros(rank), like.new_zeros(outputs, rank))
