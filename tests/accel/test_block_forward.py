"""The forward of one block against diffusers' own."""

import copy
from typing import Any

import pytest
import torch

from accel.block_forward import block_forward, compute_modulation, time_embedding
from accel.rotary_embedding import RotaryEmbedding
from tests.accel.inputs import NOISE_TOKENS, REFERENCE_TOKENS, SHAPES, WIDTH, WORDS, random_tensor


@pytest.fixture(params=[torch.float32, torch.bfloat16, torch.float16], ids=["float32", "bfloat16", "float16"])
def typed(request: pytest.FixtureRequest, transformer: Any) -> Any:
    return copy.deepcopy(transformer).to(request.param)


@torch.inference_mode()
def test_it_is_the_forward_of_diffusers_bit_for_bit(typed: Any) -> None:
    block, timestep = typed.transformer_blocks[1], torch.tensor([0.7], dtype=typed.dtype)
    image = random_tensor(1, NOISE_TOKENS + REFERENCE_TOKENS, WIDTH, seed=1).to(typed.dtype)
    text = random_tensor(1, WORDS, WIDTH, seed=2).to(typed.dtype)
    embedding = time_embedding(typed, timestep)
    rotary = typed.pos_embed([SHAPES], max_txt_seq_len=WORDS, device=image.device)
    index = None
    if typed.zero_cond_t:
        index = torch.tensor([[0] * NOISE_TOKENS + [1] * REFERENCE_TOKENS], dtype=torch.int)
    expected = block(
        hidden_states=image,
        encoder_hidden_states=text,
        encoder_hidden_states_mask=None,
        temb=embedding,
        image_rotary_emb=rotary,
        modulate_index=index,
    )
    given = block_forward(block, image, text, compute_modulation(block, embedding), RotaryEmbedding(*rotary), index)
    for ours, theirs in zip(given, expected, strict=True):
        assert torch.equal(ours, theirs)
        assert theirs.isfinite().all()


@torch.inference_mode()
def test_the_modulation_has_a_row_for_clean_images_where_the_model_tells_them_apart(transformer: Any) -> None:
    embedding = time_embedding(transformer, torch.tensor([0.7]))
    modulation = compute_modulation(transformer.transformer_blocks[0], embedding)
    assert modulation.image.shape == (1 + transformer.zero_cond_t, 6 * WIDTH)
    assert modulation.text.shape == (1, 6 * WIDTH)
    if transformer.zero_cond_t:
        clean = transformer.time_text_embed(torch.tensor([0.0]), embedding)
        assert torch.allclose(embedding[1:], clean, atol=1e-6)
