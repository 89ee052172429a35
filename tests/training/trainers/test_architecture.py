from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler
from PIL import Image

from pipelines.models.checkpoint import Checkpoint
from training.trainers.architecture import (
    LAYERS,
    SCHEDULER,
    WIDTH,
    fresh_text_encoder,
    fresh_transformer,
    image_processor,
    scheduler,
    vision_grid,
)


def test_the_blocks_of_a_fresh_transformer_are_the_identity() -> None:
    transformer = fresh_transformer()
    image, text = torch.randn(1, 4, WIDTH), torch.randn(1, 3, WIDTH)
    rotary = transformer.pos_embed([(1, 2, 2)], max_txt_seq_len=3, device=torch.device("cpu"))
    assert len(transformer.transformer_blocks) == LAYERS
    for block in transformer.transformer_blocks:
        text_next, image_next = block(image, text, None, torch.randn(1, WIDTH), rotary)
        assert torch.equal(text_next, text)
        assert torch.equal(image_next, image)


def test_the_vision_tower_is_not_trained(trained: Checkpoint) -> None:
    encoder = fresh_text_encoder(trained.tokenizer)
    assert not any(weight.requires_grad for weight in encoder.model.visual.parameters())
    assert all(weight.requires_grad for weight in encoder.model.language_model.parameters())


def test_a_picture_is_four_tokens_for_the_vision_tower() -> None:
    inputs = image_processor()(images=[Image.new("RGB", (128, 128))], return_tensors="pt")
    assert inputs["image_grid_thw"].tolist() == [[1, 4, 4]]  # patches; 2 × 2 of them are a token


@pytest.mark.parametrize("grid", [(8, 8), (7, 9), (6, 10), (10, 6), (16, 16), (12, 20)])
def test_the_grid_of_patches_is_that_of_the_image_processor(grid: tuple[int, int]) -> None:
    inputs = image_processor()(images=[Image.new("RGB", (16 * grid[1], 16 * grid[0]))], return_tensors="pt")
    assert inputs["image_grid_thw"].tolist() == [[1, *vision_grid(grid)]]


def test_the_scheduler_can_be_loaded(tmp_path: Path) -> None:
    scheduler().save_pretrained(tmp_path)
    loaded: Any = FlowMatchEulerDiscreteScheduler.from_pretrained(tmp_path)
    assert {name: loaded.config[name] for name in SCHEDULER} == SCHEDULER
