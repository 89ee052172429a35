"""Grows a trained transformer by blocks that change nothing yet, so that nothing learnt is lost.

Knows the transformer's blocks; knows no data.
"""

from typing import Any, cast

import torch
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel
from torch import nn


def grow(transformer: QwenImageTransformer2DModel, layers: int) -> QwenImageTransformer2DModel:
    """Return a transformer of more blocks with the same output.

    A new block stands behind the one that it is a copy of. Its modulation is zero: its gates are closed, and open while
    it is trained.
    """
    config: dict[str, Any] = dict(transformer.config)
    old = config["num_layers"]
    if layers < old:
        raise ValueError(f"a transformer of {old} blocks cannot have {layers}")
    grown = cast(
        "QwenImageTransformer2DModel", QwenImageTransformer2DModel.from_config({**config, "num_layers": layers})
    )
    weights = transformer.state_dict()
    rest = {name: value for name, value in weights.items() if not name.startswith("transformer_blocks.")}
    grown.load_state_dict(rest, strict=False)
    former = [index * old // layers for index in range(layers)]
    for index, source in enumerate(former):
        block = grown.transformer_blocks[index]
        block.load_state_dict(transformer.transformer_blocks[source].state_dict())
        if index and former[index - 1] == source:
            _close(block)
    return grown


@torch.no_grad()
def _close(block: nn.Module) -> None:
    """Zero the modulation of a block, so that it adds nothing."""
    for name, weight in block.named_parameters():
        if "_mod." in name:
            weight.zero_()
