"""Batches of prompts through the text encoder, with gradients: the trained counterpart of `pipelines.conditioning`.

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
    seen: torch.Tensor,
    grid: tuple[int, int],
    encoder: Qwen2_5_VLForConditionalGeneration,
    tokenizer: Qwen2Tokenizer,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states [B, longest, width] without the template's prefix, and which of them are there, bool [B, longest].

    `seen` [B, pictures, tokens, width] stands where the template shows the pictures; `grid` is how the vision tower
    cut each of them, in patches.
    """
    template = TEMPLATES[mode]
    pad = cast("int", tokenizer.convert_tokens_to_ids(IMAGE_PAD))
    pictures, tokens = seen.shape[1], seen.shape[2]
    shown = "".join(template.picture.format(number + 1) for number in range(pictures))
    rows = [
        [same for i in ids for same in ([i] * tokens if i == pad else [i])]
        for ids in tokenizer([template.prefix + shown + text + template.tail for text in texts])["input_ids"]
    ]
    longest = max(len(row) for row in rows)
    device = seen.device
    ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows], device=device)
    model = encoder.model
    embeds = model.language_model.embed_tokens(ids)
    positions = torch.arange(longest, device=device).expand(3, len(rows), longest)
    if pictures:
        # All rows agree up to the last picture, and count on from there.
        first, is_picture = cast("Any", ids[:1]), ids.eq(pad)
        grids = cast("Any", torch.tensor([[1, *grid]] * pictures, device=device))
        positions, _ = model.get_rope_index(
            first, cast("Any", is_picture[:1].int()), image_grid_thw=grids, attention_mask=torch.ones_like(first)
        )
        positions = positions.expand(3, len(rows), longest)
        embeds = embeds.masked_scatter(is_picture.unsqueeze(-1), seen.to(embeds.dtype))
    states = model.language_model(
        inputs_embeds=embeds, attention_mask=mask, position_ids=positions, use_cache=False
    ).last_hidden_state
    system = len(tokenizer(template.prefix)["input_ids"])
    return states[:, system:], mask[:, system:].bool()
