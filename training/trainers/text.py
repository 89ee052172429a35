"""Encodes batches of prompts with gradients: the counterpart of `pipelines.conditioning` for training.

Knows templates and the encoder; knows no scenes.
"""

from collections.abc import Sequence
from typing import Any, cast

import torch
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2Tokenizer

from pipelines.catalog.catalog import Mode
from pipelines.catalog.templates import IMAGE_PAD, TEMPLATES


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
    template = TEMPLATES[mode]
    pad = cast("int", tokenizer.convert_tokens_to_ids(IMAGE_PAD))
    pictures, tokens = vision.shape[1], vision.shape[2]
    shown = "".join(template.picture.format(number + 1) for number in range(pictures))
    rows = [
        [same for i in ids for same in ([i] * tokens if i == pad else [i])]
        for ids in tokenizer([template.prefix + shown + text + template.tail for text in texts])["input_ids"]
    ]
    longest = max(len(row) for row in rows)
    device = vision.device
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=device)
    model = encoder.model
    embeds = model.language_model.embed_tokens(ids)
    positions = torch.arange(longest, device=device).expand(3, len(rows), longest)
    if pictures:
        # All rows are equal up to the last picture, so their positions are too.
        first, is_picture = cast("Any", ids[:1]), ids.eq(pad)
        grids = cast("Any", torch.tensor([[1, *grid]] * pictures, device=device))
        positions, _ = model.get_rope_index(
            first, cast("Any", is_picture[:1].int()), image_grid_thw=grids, attention_mask=torch.ones_like(first)
        )
        positions = positions.expand(3, len(rows), longest)
        embeds = embeds.masked_scatter(is_picture.unsqueeze(-1), vision.to(embeds.dtype))
    states = model.language_model(
        inputs_embeds=embeds, attention_mask=mask, position_ids=positions, use_cache=False
    ).last_hidden_state
    system = len(tokenizer(template.prefix)["input_ids"])
    return states[:, system:], mask[:, system:].bool()
