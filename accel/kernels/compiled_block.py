"""One compiled graph that runs every block of the transformer.

The weights of a block are inputs of the graph, so all blocks of a shape share it. The walk over the blocks stays
outside: step caches, ControlNets and streamed weights work as without it. Rotary embeddings are computed with real
numbers, because the compiler makes no kernels for complex ones. Knows one block; knows no cache and no request.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformerBlock
from torch import nn

from accel.block_forward import (
    BlockForward,
    BlockLayers,
    BlockModulation,
    Heads,
    attend_jointly,
    attend_parts,
    forward_through,
)
from accel.kernels.joint_heads import join_heads
from accel.kernels.linear_gelu import linear_gelu
from accel.kernels.low_rank import BlockLowRank
from accel.rotary_embedding import RealRotary, Rotary
from accel.weights.quantized.base import forward_together

# Graphs of one process: with and without clean references, with and without LoRAs, and for each kind of layers.
GRAPHS = 32
OPTIONS: dict[str, Any] = {
    # Rounds intermediate values as the separate kernels do: closer to the results without compilation.
    "emulate_precision_casts": True,
    # A graph is compiled with few tokens. For those a reduction over the width would be split into several kernels, and
    # the GELU before it would no longer be in the same one as the quantization behind it.
    "split_reductions": False,
}


class Kernels(NamedTuple):
    """Kernels in place of what the compiler makes.

    `gelu_in_product` rounds less often: see `linear_gelu`. `fused_heads` rounds as the separate kernels do: see
    `join_heads`.
    """

    gelu_in_product: bool = False
    fused_heads: bool = False


SEPARATE = Kernels()
RealParts = tuple[RealRotary, RealRotary]  # of the image and of the text of one forward
_Block = Callable[..., tuple[torch.Tensor, torch.Tensor]]


@dataclass
class CompiledBlocks:
    """Runs blocks through one compiled function. It is compiled at the first call, which takes about a minute.

    Forward hooks are not part of the graph, so a block with hooks must not come here. Additions to its layers may.
    """

    backend: str = "inductor"
    kernels: Kernels = SEPARATE
    _compiled: _Block = field(init=False, repr=False)

    def __post_init__(self) -> None:
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, GRAPHS)
        # The floats of a block are the epsilons of its norms. As inputs of the graph they would be traced, found to be
        # constants, and the whole graph traced once more.
        torch._dynamo.config.specialize_float = True
        options = OPTIONS if self.backend == "inductor" else None
        self._compiled = torch.compile(
            forward_with_real_rotary, fullgraph=True, dynamic=True, backend=self.backend, options=options
        )

    def __call__(
        self,
        block: QwenImageTransformerBlock,
        image: torch.Tensor,
        text: torch.Tensor,
        modulation: BlockModulation,
        rotary: Rotary,
        modulate_index: torch.Tensor | None,
        added: BlockLowRank | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the text and the image after a block. Takes what `block_forward` takes, and low-rank additions."""
        parts = tuple(part.real for part in rotary.parts)
        given = modulation.image, modulation.text, parts, modulate_index, modulation.text_index
        return self._compiled(block, image, text, *given, added, self.kernels)

    def with_low_rank(self, added: Mapping[nn.Module, BlockLowRank]) -> BlockForward:
        """The same with additions to the layers of some blocks. All blocks that have them share a second graph."""

        def run(block: QwenImageTransformerBlock, *inputs: Any) -> tuple[torch.Tensor, torch.Tensor]:
            return self(block, *inputs, added=added.get(block))

        return run


def compiled_graphs() -> int:
    """The number of graphs that this process has compiled. It stays the same while nothing is compiled again."""
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def read_graphs() -> int:
    """The number of graphs whose code this process has read from the compiler's files instead of making it."""
    return int(torch._dynamo.utils.counters["inductor"]["fxgraph_cache_hit"])


def forward_with_real_rotary(
    block: QwenImageTransformerBlock,
    image: torch.Tensor,
    text: torch.Tensor,
    image_modulation: torch.Tensor,
    text_modulation: torch.Tensor,
    parts: Sequence[RealParts],
    modulate_index: torch.Tensor | None,
    text_index: torch.Tensor | None = None,
    added: BlockLowRank | None = None,
    kernels: Kernels = SEPARATE,
) -> tuple[torch.Tensor, torch.Tensor]:
    """What `block_forward` computes, with real rotary embeddings. Equal to it within the rounding of float32.

    `parts` are the rotary embeddings of the forwards whose tokens follow each other. `added` are low-rank additions to
    the layers of the block.
    """

    def attend(image: torch.Tensor, text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return _attend(block.attn, image, text, parts, added, kernels)

    layers = BlockLayers(attend, _mlp(block, "img_mlp", added, kernels), _mlp(block, "txt_mlp", added, kernels))
    return forward_through(layers, block, image, text, image_modulation, text_modulation, modulate_index, text_index)


def _attend(
    attention: Any,
    image: torch.Tensor,
    text: torch.Tensor,
    parts: Sequence[RealParts],
    added: BlockLowRank | None,
    kernels: Kernels,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Joint attention of the text, which comes first, and the image. Each part attends to its own tokens only."""
    width = attention.inner_dim // attention.heads

    def project(name: str, sample: torch.Tensor) -> torch.Tensor:
        return _linear(attention.get_submodule(name), sample, added, f"attn.{name}")

    def project_all(names: Sequence[str], sample: torch.Tensor) -> list[torch.Tensor]:
        outputs = forward_together([attention.get_submodule(name) for name in names], sample)
        if added is None:
            return outputs
        return [added[f"attn.{name}"].add(sample, output) for name, output in zip(names, outputs, strict=True)]

    def joined(
        projected: tuple[torch.Tensor, torch.Tensor], norms: tuple[str, str], rotaries: RealParts
    ) -> torch.Tensor:
        """The normalized and rotated heads of the text and of the image, [1, words + tokens, heads, width]."""
        image_rotary, text_rotary = rotaries
        text_norm, image_norm = (attention.get_submodule(name) for name in norms)
        if kernels.fused_heads:
            weights = text_norm.weight, image_norm.weight
            return join_heads(*projected, *weights, *text_rotary, *image_rotary, text_norm.eps)
        rotated = (
            _rotate(norm(each.unflatten(-1, (-1, width))), rotary)
            for norm, each, rotary in zip((text_norm, image_norm), projected, (text_rotary, image_rotary), strict=True)
        )
        return torch.cat(list(rotated), dim=1)

    def attend(images: Heads, texts: Heads, rotaries: RealParts) -> tuple[torch.Tensor, torch.Tensor]:
        """The attention of one part, from the query, the key and the value of its image and of its text."""
        query = joined((texts[0], images[0]), ("norm_added_q", "norm_q"), rotaries)
        key = joined((texts[1], images[1]), ("norm_added_k", "norm_k"), rotaries)
        value = torch.cat([texts[2], images[2]], dim=1).unflatten(-1, (-1, width))
        return attend_jointly(query, key, value, texts[0].shape[1])

    texts = project_all(("add_q_proj", "add_k_proj", "add_v_proj"), text)
    images = project_all(("to_q", "to_k", "to_v"), image)
    if len(parts) == 1:
        image_joint, text_joint = attend(images, texts, parts[0])
    else:
        lengths = [(len(image_rotary[0]), len(text_rotary[0])) for image_rotary, text_rotary in parts]
        image_joint, text_joint = attend_parts(attend, images, texts, parts, lengths)
    return project("to_out.0", image_joint), project("to_add_out", text_joint)


def _mlp(
    block: QwenImageTransformerBlock, name: str, added: BlockLowRank | None, kernels: Kernels
) -> Callable[[torch.Tensor], torch.Tensor]:
    """The feed-forward layer of the image or of the text."""
    mlp: Any = block.get_submodule(name)

    def run(sample: torch.Tensor) -> torch.Tensor:
        activation = mlp.net[0]
        if kernels.gelu_in_product and added is None and isinstance(activation.proj, nn.Linear):
            hidden = linear_gelu(sample, activation.proj.weight, activation.proj.bias)
        else:
            hidden = activation.gelu(_linear(activation.proj, sample, added, f"{name}.net.0.proj"))
        return _linear(mlp.net[2], hidden, added, f"{name}.net.2")

    return run


def _linear(layer: nn.Module, sample: torch.Tensor, added: BlockLowRank | None, name: str) -> torch.Tensor:
    output = layer(sample)
    return output if added is None else added[name].add(sample, output)


def _rotate(heads: torch.Tensor, rotary: RealRotary) -> torch.Tensor:
    """Rotate pairs of neighbouring values [1, tokens, heads, width] by the angles of their token."""
    cosines, sines = (each.unsqueeze(1) for each in rotary)
    real, imaginary = heads.float().unflatten(-1, (-1, 2)).unbind(-1)
    rotated = torch.stack([real * cosines - imaginary * sines, real * sines + imaginary * cosines], dim=-1)
    return rotated.flatten(-2).to(heads.dtype)
