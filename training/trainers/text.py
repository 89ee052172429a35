"""Encodes batches of prompts with gradients: the counterpart of `pipelines.conditioning` for training.

Knows templates and the encoder; knows no scenes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer

from pipelines.catalog.catalog import Mode
from pipelines.catalog.templates import IMAGE_PAD, TEMPLATES


@dataclass(frozen=True, slots=True)
class PromptTokens:
    """The tokens of prompts, `ids` [B, longest] with zeros after the `lengths` [B].

    `system` is the number of tokens of the template's prefix, `pad` the token that stands for a picture's.
    """

    ids: np.ndarray
    lengths: np.ndarray
    system: int
    pad: int


def encode_texts(
    texts: Sequence[str],
    mode: Mode,
    vision: torch.Tensor,
    grid: tuple[int, int],
    encoder: Qwen2_5_VLForConditionalGeneration,
    tokenizer: Qwen2Tokenizer,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the hidden states [B, longest, width] without the template's prefix, and their mask, bool [B, longest].

    `vision` [B, pictures, tokens, width] are the vision tower's tokens of the pictures, `grid` their patches.
    """
    prompts = prompt_tokens(texts, mode, vision.shape[1], vision.shape[2], tokenizer)
    return encode_tokens(prompts, vision, grid, encoder)


def prompt_tokens(
    texts: Sequence[str], mode: Mode, pictures: int, tokens: int, tokenizer: Qwen2Tokenizer, multiple: int = 1
) -> PromptTokens:
    """Return the tokens of prompts in a template, with a number of tokens for each picture."""
    template = TEMPLATES[mode]
    pad = cast("int", tokenizer.convert_tokens_to_ids(IMAGE_PAD))
    shown = "".join(template.picture.format(number + 1) for number in range(pictures))
    rows = [
        [same for i in ids for same in ([i] * tokens if i == pad else [i])]
        for ids in tokenizer([template.prefix + shown + text + template.tail for text in texts])["input_ids"]
    ]
    longest = -(-max(len(row) for row in rows) // multiple) * multiple
    ids = np.zeros((len(rows), longest), np.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
    system = len(tokenizer(template.prefix)["input_ids"])
    return PromptTokens(ids, np.array([len(row) for row in rows]), system, pad)


def encode_tokens(
    prompts: PromptTokens, vision: torch.Tensor, grid: tuple[int, int], encoder: Qwen2_5_VLForConditionalGeneration
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what `encode_texts` returns, for tokens."""
    device, pictures = vision.device, vision.shape[1]
    ids = torch.from_numpy(prompts.ids).to(device)
    rows, longest = ids.shape
    lengths = torch.from_numpy(prompts.lengths).to(device)
    mask = (torch.arange(longest, device=device)[None] < lengths[:, None]).long()
    model = encoder.model
    embeds = model.language_model.embed_tokens(ids)
    positions = torch.arange(longest, device=device).expand(3, rows, longest)
    if pictures:
        # All rows are equal up to the last picture, so their positions are too.
        first, is_picture = cast("Any", ids[:1]), ids.eq(prompts.pad)
        grids = cast("Any", torch.tensor([[1, *grid]] * pictures, device=device))
        positions, _ = model.get_rope_index(
            first, cast("Any", is_picture[:1].int()), image_grid_thw=grids, attention_mask=torch.ones_like(first)
        )
        positions = positions.expand(3, rows, longest)
        embeds = embeds.masked_scatter(is_picture.unsqueeze(-1), vision.to(embeds.dtype))
    states = model.language_model(
        inputs_embeds=embeds, attention_mask=mask, position_ids=positions, use_cache=False
    ).last_hidden_state
    return states[:, prompts.system :], mask[:, prompts.system :].bool()
