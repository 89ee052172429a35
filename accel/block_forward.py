"""The forward of one transformer block, with the modulation given instead of computed.

Does what `QwenImageTransformerBlock.forward` of diffusers 0.42 does, in the same order, so the bits are the same. The
modulation depends on the timestep alone, so it can be computed once and used for many images. Knows one block; knows no
cache, no ControlNet, and not where the weights are.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from diffusers.models.transformers.transformer_qwenimage import (
    QwenImageTransformer2DModel,
    QwenImageTransformerBlock,
    apply_rotary_emb_qwen,
)
from torch.nn.functional import scaled_dot_product_attention

from accel.rotary_embedding import Rotary, RotaryEmbedding

R = TypeVar("R")  # the rotary embedding of one forward
Heads = Sequence[torch.Tensor]  # a query, a key and a value

_FLOAT16_MAX = 65504.0


@dataclass(frozen=True, slots=True)
class BlockModulation:
    """The shifts, scales and gates of one block at one timestep.

    `image` is [rows, 6 · width] and `text` [1, 6 · width]. There are two rows where reference images count as clean:
    one at the timestep, and one at time 0. Forwards of several timesteps have the rows of each one behind the other.
    `text_index` [1, words] then names the row of `text` for each word.
    """

    image: torch.Tensor
    text: torch.Tensor
    text_index: torch.Tensor | None = None


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
        Rotary,
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
    rotary: Rotary,
    modulate_index: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the text [1, words, width] and the image [1, tokens, width] after a block.

    `modulate_index` [1, tokens] names the row of the modulation for each token of the image. None means row 0. With a
    `JoinedRotary` the words and the tokens are those of several forwards. Each attends to its own ones only.
    """

    def attend(image: torch.Tensor, text: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if len(rotary.parts) == 1:
            own = rotary.parts[0]
            return block.attn(
                hidden_states=image,
                encoder_hidden_states=text,
                encoder_hidden_states_mask=None,
                image_rotary_emb=(own.image, own.text),
            )
        return _attend_together(block.attn, image, text, rotary.parts)

    layers = BlockLayers(attend, block.img_mlp, block.txt_mlp)
    return forward_through(
        layers, block, image, text, modulation.image, modulation.text, modulate_index, modulation.text_index
    )


def forward_through(
    layers: BlockLayers,
    block: QwenImageTransformerBlock,
    image: torch.Tensor,
    text: torch.Tensor,
    image_modulation: torch.Tensor,
    text_modulation: torch.Tensor,
    modulate_index: torch.Tensor | None,
    text_index: torch.Tensor | None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the text and the image after a block whose layers are given. The modulation is in plain tensors."""
    image_attention, image_mlp = image_modulation.chunk(2, dim=-1)
    text_attention, text_mlp = text_modulation.chunk(2, dim=-1)

    image_modulated, image_gate = _modulate(block, block.img_norm1(image), image_attention, modulate_index)
    text_modulated, text_gate = _modulate(block, block.txt_norm1(text), text_attention, text_index)
    image_attended, text_attended = layers.attend(image_modulated, text_modulated)
    image = image + image_gate * image_attended
    text = text + text_gate * text_attended

    image_modulated, image_gate = _modulate(block, block.img_norm2(image), image_mlp, modulate_index)
    image = image + image_gate * layers.image_mlp(image_modulated)
    text_modulated, text_gate = _modulate(block, block.txt_norm2(text), text_mlp, text_index)
    text = text + text_gate * layers.text_mlp(text_modulated)
    return _clip(text), _clip(image)


def _modulate(
    block: QwenImageTransformerBlock, hidden: torch.Tensor, modulation: torch.Tensor, index: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The modulated hidden states [1, tokens, width], and their gate. The library's own knows two rows at most."""
    if index is None or modulation.shape[0] <= 2:
        return block._modulate(hidden, modulation, index)
    shift, scale, gate = (part[index] for part in modulation.chunk(3, dim=-1))
    return hidden * (1 + scale) + shift, gate


def attend_jointly(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, words: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """The attention of `words` and the image behind them, all [1, words + tokens, heads, width].

    Returns that of the image [1, tokens, heads · width], and that of the text.
    """
    joint = scaled_dot_product_attention(query.transpose(1, 2), key.transpose(1, 2), value.transpose(1, 2))
    joint = joint.transpose(1, 2).flatten(2, 3)
    return joint[:, words:].contiguous(), joint[:, :words].contiguous()


def attend_parts(
    attend: Callable[[Heads, Heads, R], tuple[torch.Tensor, torch.Tensor]],
    images: Heads,
    texts: Heads,
    parts: Sequence[R],
    lengths: Sequence[tuple[int, int]],
) -> tuple[torch.Tensor, torch.Tensor]:
    """What `attend` returns for the image and the text of each part, one part behind the other.

    `images` and `texts` are the query, the key and the value of all parts, [1, tokens, …] each. `lengths` are the
    tokens and the words of each part.
    """
    tokens, words = zip(*lengths, strict=True)
    images_of_parts = zip(*(each.split(tokens, dim=1) for each in images), strict=True)
    texts_of_parts = zip(*(each.split(words, dim=1) for each in texts), strict=True)
    attended = [attend(*each) for each in zip(images_of_parts, texts_of_parts, parts, strict=True)]
    image, text = (torch.cat(each, dim=1) for each in zip(*attended, strict=True))
    return image, text


def _attend_together(
    attention: Any, image: torch.Tensor, text: torch.Tensor, parts: Sequence[RotaryEmbedding]
) -> tuple[torch.Tensor, torch.Tensor]:
    """What the library's attention computes for each part. Products and norms run once for the tokens of all parts."""
    width = attention.inner_dim // attention.heads

    def heads(name: str, sample: torch.Tensor) -> torch.Tensor:
        return attention.get_submodule(name)(sample).unflatten(-1, (-1, width))

    def attend(image: Heads, text: Heads, part: RotaryEmbedding) -> tuple[torch.Tensor, torch.Tensor]:
        query, key = (
            torch.cat([_rotated(words, part.text), _rotated(tokens, part.image)], dim=1)
            for words, tokens in zip(text[:2], image[:2], strict=True)
        )
        return attend_jointly(query, key, torch.cat([text[2], image[2]], dim=1), len(part.text))

    images = attention.norm_q(heads("to_q", image)), attention.norm_k(heads("to_k", image)), heads("to_v", image)
    texts = (
        attention.norm_added_q(heads("add_q_proj", text)),
        attention.norm_added_k(heads("add_k_proj", text)),
        heads("add_v_proj", text),
    )
    lengths = [(len(part.image), len(part.text)) for part in parts]
    image_joint, text_joint = attend_parts(attend, images, texts, parts, lengths)
    return attention.to_out[1](attention.to_out[0](image_joint)), attention.to_add_out(text_joint)


def _rotated(heads: torch.Tensor, rotary: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(apply_rotary_emb_qwen(heads, rotary, use_real=False))  # the library's annotation is a tuple


def _clip(hidden: torch.Tensor) -> torch.Tensor:
    """Keep float16 finite."""
    return hidden.clip(-_FLOAT16_MAX, _FLOAT16_MAX) if hidden.dtype == torch.float16 else hidden
