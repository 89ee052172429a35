"""One compiled graph that runs every block of the transformer.

The weights of a block are inputs of the graph, so all blocks of a shape share it. The walk over the blocks stays
outside: step caches, ControlNets and streamed weights work as without it. Rotary embeddings are computed with real
numbers, because the compiler makes no kernels for complex ones. Knows one block; knows no cache and no request.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformerBlock
from torch.nn.functional import scaled_dot_product_attention

from accel.block_forward import BlockModulation, forward_around
from accel.rotary_embedding import RealRotary, RotaryEmbedding

# Graphs beside the usual one: with and without clean references, and for each kind of quantized layers.
GRAPHS = 16

_Block = Callable[..., tuple[torch.Tensor, torch.Tensor]]


@dataclass
class CompiledBlocks:
    """Runs blocks through one compiled function. It is compiled at the first call, which takes about a minute.

    Forward hooks are not part of the graph, so a block with hooks must not come here.
    """

    backend: str = "inductor"
    _compiled: _Block = field(init=False, repr=False)

    def __post_init__(self) -> None:
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, GRAPHS)
        # Rounds intermediate values as the separate kernels do: closer to the results without compilation.
        options: dict[str, Any] | None = {"emulate_precision_casts": True} if self.backend == "inductor" else None
        self._compiled = torch.compile(
            forward_with_real_rotary, fullgraph=True, dynamic=True, backend=self.backend, options=options
        )

    def __call__(
        self,
        block: QwenImageTransformerBlock,
        image: torch.Tensor,
        text: torch.Tensor,
        modulation: BlockModulation,
        rotary: RotaryEmbedding,
        modulate_index: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the text and the image after a block. Takes what `block_forward` takes."""
        return self._compiled(block, image, text, modulation.image, modulation.text, *rotary.real, modulate_index)


def compiled_graphs() -> int:
    """The number of graphs that this process has compiled. It stays the same while nothing is compiled again."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def forward_with_real_rotary(
    block: QwenImageTransformerBlock,
    image: torch.Tensor,
    text: torch.Tensor,
    image_modulation: torch.Tensor,
    text_modulation: torch.Tensor,
    image_rotary: RealRotary,
    text_rotary: RealRotary,
    modulate_index: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What `block_forward` computes, with real rotary embeddings. Equal to it within the rounding of float32."""

    def attend(image: torch.Tensor, text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return _attend(block.attn, image, text, image_rotary, text_rotary)

    return forward_around(attend, block, image, text, image_modulation, text_modulation, modulate_index)


def _attend(
    attention: Any, image: torch.Tensor, text: torch.Tensor, image_rotary: RealRotary, text_rotary: RealRotary
) -> tuple[torch.Tensor, torch.Tensor]:
    """Joint attention of the text, which comes first, and the image."""
    width = attention.inner_dim // attention.heads

    def heads(projected: torch.Tensor) -> torch.Tensor:
        return projected.unflatten(-1, (-1, width))

    query = torch.cat(
        [
            _rotate(attention.norm_added_q(heads(attention.add_q_proj(text))), text_rotary),
            _rotate(attention.norm_q(heads(attention.to_q(image))), image_rotary),
        ],
        dim=1,
    )
    key = torch.cat(
        [
            _rotate(attention.norm_added_k(heads(attention.add_k_proj(text))), text_rotary),
            _rotate(attention.norm_k(heads(attention.to_k(image))), image_rotary),
        ],
        dim=1,
    )
    value = torch.cat([heads(attention.add_v_proj(text)), heads(attention.to_v(image))], dim=1)
    joint = scaled_dot_product_attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
    joint = joint.transpose(1, 2).flatten(2, 3)
    words = text.shape[1]
    return attention.to_out[0](joint[:, words:].contiguous()), attention.to_add_out(joint[:, :words].contiguous())


def _rotate(heads: torch.Tensor, rotary: RealRotary) -> torch.Tensor:
    """Rotate pairs of neighbouring values [1, tokens, heads, width] by the angles of their token."""
    cosines, sines = (each.unsqueeze(1) for each in rotary)
    real, imaginary = heads.float().unflatten(-1, (-1, 2)).unbind(-1)
    rotated = torch.stack([real * cosines - imaginary * sines, real * sines + imaginary * cosines], dim=-1)
    return rotated.flatten(-2).to(heads.dtype)
