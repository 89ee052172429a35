from dataclasses import replace

import pytest
import torch
from accelerate import init_empty_weights
from diffusers.models.transformers.transformer_qwenimage import QwenImageTransformer2DModel

from benchmarks.random_models import ModelSize, RandomModels

SMALL = ModelSize.load("small")


@pytest.fixture(scope="module")
def models() -> RandomModels:
    return RandomModels.build(SMALL, torch.device("cpu"))


def test_the_full_size_is_the_real_one() -> None:
    with init_empty_weights(include_buffers=False):
        transformer = QwenImageTransformer2DModel(**ModelSize.load("full").transformer)
    # The published model's number of parameters, counted from its configuration.
    assert sum(weight.numel() for weight in transformer.parameters()) == 20_430_401_088


def test_the_weights_are_the_same_in_every_run(models: RandomModels) -> None:
    again = RandomModels.build(SMALL, torch.device("cpu"))
    state, same = (each.checkpoint.transformer.state_dict() for each in (models, again))
    assert all(torch.equal(state[name], same[name]) for name in state)


def test_a_controlnet_has_a_twelfth_of_the_blocks() -> None:
    deep = replace(SMALL, transformer=SMALL.transformer | {"num_layers": 24})
    assert len(RandomModels.build(deep, torch.device("cpu")).controlnet.transformer_blocks) == 2


def test_shapes(models: RandomModels) -> None:
    width = SMALL.transformer["joint_attention_dim"]
    assert models.prompt().shape == (1, 60, width)
    assert models.negative_prompt().shape == (1, 6, width)
    assert models.noise(64).shape == (1, 16, 64)
    assert torch.equal(models.noise(64), models.noise(64))
