"""The forward of one transformer block, with the modulation given instead of computed.

Does what `QwenImageTransformerBlock.forward` of diffusers 0.42 does, in the same order, so the bits are the same. The
modulation depends on the timestep alone, so it can be computed once and used for many images. Knows one block; knows no
cache, no ControlNet, and not where the weights are.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from diffusers.models.transformers.transformer_qwenimage import (
    QwenImageTransformer2DModel,
    QwenImageTransformerBlock,
)

from accel.rotary_embedding import RotaryEmbedding

_FLOAT16_MAX = 65504.0


@dataclass(frozen=True, slots=True)
class BlockModulation:
    """The shifts, scales and gates of one block at one timestep.

    `image` is [rows, 6 · width] and `text` [1, 6 · width]. There are two rows where reference images count as clean:
    one at the timestep, and one at time 0.
    """

    image: torch.Tensor
    text: torch.Tensor


@dataclass(frozen=True, slots=True)
class BlockLayers:
    """What a block computes from its modulated hidden states.

    `attend` is the joint attention: it takes the image and the text, and returns what to add to both.
    """

    attend: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    image_mlp: Callable[[torch.Tensor], torch.Tensor]
    text_mlp: Callable[[torch.Tensor], torch.Tensor]


# What `block_forward` takes and returns: the text and the image after a block.
BlockForward = Callable[
    [
        QwenImageTransformerBlock,
        torch.Tensor,
        torch.Tensor,
        BlockModulation,
        RotaryEmbedding,
        torch.Tensor | None,
    ],
    tuple[torch.Tensor, torch.Tensor],
]


def time_embedding(transformer: QwenImageTransformer2DModel, timestep: torch.Tensor) -> torch.Tensor:
    """Embed a timestep [1] in the dtype of the hidden states: [rows, width], as for `BlockModulation`."""
    if transformer.zero_cond_t:  # reference images count as clean: their timestep is 0
        timestep = torch.cat([timestep, timestep * 0])
    return transformer.time_text_embed(timestep, timestep)


def compute_modulation(block: QwenImageTransformerBlock, embedding: torch.Tensor) -> BlockModulation:
    """Compute the modulation of a block from a time embedding [rows, width].

    One timestep at a time, because a product over several rows may round in another way than each row alone.
    """
    return BlockModulation(block.img_mod(embedding), block.txt_mod(embedding[:1]))


def block_forward(
    block: QwenImageTransformerBlock,
    image: torch.Tensor,
    text: torch.Tensor,
    modulation: BlockModulation,
    rotary: RotaryEmbedding,
    modulate_index: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the text [1, words, width] and the image [1, tokens, width] after a block.

    `modulate_index` [1, tokens] names the row of the modulation for each token of the image. None means row 0.
    """

    def attend(image: torch.Tensor, text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return block.attn(
            hidden_states=image,
            encoder_hidden_states=text,
            encoder_hidden_states_mask=None,
            image_rotary_emb=(rotary.image, rotary.text),
        )

    layers = BlockLayers(attend, block.img_mlp, block.txt_mlp)
    return forward_through(layers, block, image, text, modulation.image, modulation.text, modulate_index)


def forward_through(
    layers: BlockLayers,
    block: QwenImageTransformerBlock,
    image: torch.Tensor,
    text: torch.Tensor,
    image_modulation: torch.Tensor,
    text_modulation: torch.Tensor,
    modulate_index: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the text and the image after a block whose layers are given. The modulation is in plain tensors."""
    image_attention, image_mlp = image_modulation.chunk(2, dim=-1)
    text_attention, text_mlp = text_modulation.chunk(2, dim=-1)

    image_modulated, image_gate = block._modulate(block.img_norm1(image), image_attention, modulate_index)
    text_modulated, text_gate = block._modulate(block.txt_norm1(text), text_attention)
    image_attended, text_attended = layers.attend(image_modulated, text_modulated)
    image = image + image_gate * image_attended
    text = text + text_gate * text_attended

    image_modulated, image_gate = block._modulate(block.img_norm2(image), image_mlp, modulate_index)
    image = image + image_gate * layers.image_mlp(image_modulated)
    text_modulated, text_gate = block._modulate(block.txt_norm2(text), text_mlp)
    text = text + text_gate * layers.text_mlp(text_modulated)
    return _clip(text), _clip(image)


def _clip(hidden: torch.Tensor) -> torch.Tensor:
    """Keep float16 finite."""
    return hidden.clip(-_FLOAT16_MAX, _FLOAT16_MAX) if hidden.dtype == torch.float16 else hidden
