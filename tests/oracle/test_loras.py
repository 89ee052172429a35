"""Our LoRAs against PEFT through diffusers' loaders, for the files that they read correctly."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.loaders.lora_conversion_utils import _convert_non_diffusers_lokr_to_diffusers
from diffusers.loaders.lora_pipeline import QwenImageLoraLoaderMixin
from peft import LoHaConfig, LoraConfig, OFTConfig, get_peft_model, get_peft_model_state_dict

from pipelines.lora.apply import apply_loras, select_loras
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.request import LoraUse
from tests.adapters import DIALECTS, State, fused, linear_of, named, random_adapter, velocity, write

READ_BY_DIFFUSERS = ["diffusers", "lightning", "comfyui", "comfyui down and up", "kohya", "peft adapter name"]


def theirs(checkpoint: Checkpoint, *states: State, weights: list[float] | None = None) -> torch.Tensor:
    """The velocity of a copy with these files loaded by diffusers."""
    transformer = fused(checkpoint.transformer)
    names = [f"adapter{number}" for number in range(len(states))]
    for name, state in zip(names, states, strict=True):
        loaded: Any = QwenImageLoraLoaderMixin.lora_state_dict(dict(state))
        QwenImageLoraLoaderMixin.load_lora_into_transformer(loaded, transformer, name)
    transformer.set_adapters(names, weights or [1.0] * len(states))
    return velocity(transformer)


def ours(checkpoint: Checkpoint, folder: Path, *states: State, weights: list[float] | None = None) -> torch.Tensor:
    uses = [
        LoraUse(str(number), write(folder / f"{number}.safetensors", state), weight)
        for number, (state, weight) in enumerate(zip(states, weights or [1.0] * len(states), strict=True))
    ]
    with apply_loras(select_loras(uses, LoadedModel(checkpoint))):
        return velocity(checkpoint.transformer)


def assert_equal(actual: torch.Tensor, expected: torch.Tensor, checkpoint: Checkpoint) -> None:
    assert (expected - velocity(checkpoint.transformer)).abs().max() > 0.1
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dialect", READ_BY_DIFFUSERS)
def test_every_dialect_that_diffusers_reads(checkpoint: Checkpoint, tmp_path: Path, dialect: str) -> None:
    state = DIALECTS[dialect](random_adapter(checkpoint.transformer))
    assert_equal(ours(checkpoint, tmp_path, state), theirs(checkpoint, state), checkpoint)


@pytest.mark.filterwarnings("ignore:Already found a `peft_config`")
@pytest.mark.parametrize("strengths", [[1.0, 1.0], [0.5, -2.0], [0.0, 3.5]])
def test_two_with_weights(checkpoint: Checkpoint, tmp_path: Path, strengths: list[float]) -> None:
    first = named(random_adapter(checkpoint.transformer, 1), "transformer.")
    second = DIALECTS["kohya"](random_adapter(checkpoint.transformer, 2, rank=2))
    expected = theirs(checkpoint, first, second, weights=strengths)
    assert_equal(ours(checkpoint, tmp_path, first, second, weights=strengths), expected, checkpoint)


def test_dora(checkpoint: Checkpoint, tmp_path: Path) -> None:
    adapter = random_adapter(checkpoint.transformer)
    state = named(adapter, "transformer.")
    for seed, name in enumerate(adapter):
        lengths = linear_of(checkpoint.transformer, name).weight.detach().norm(dim=1)
        spread = 0.5 + torch.rand(lengths.shape, generator=torch.Generator().manual_seed(seed))
        state[f"transformer.{name}.lora_magnitude_vector"] = lengths * spread
    assert_equal(ours(checkpoint, tmp_path, state), theirs(checkpoint, state), checkpoint)


def test_lokr(checkpoint: Checkpoint, tmp_path: Path) -> None:
    generator, state = torch.Generator().manual_seed(6), {}
    for name in ("transformer_blocks.0.attn.to_q", "transformer_blocks.1.img_mlp.net.0.proj"):
        out = linear_of(checkpoint.transformer, name).out_features
        state |= {
            f"diffusion_model.{name}.lokr_w1": torch.randn(4, 4, generator=generator),
            f"diffusion_model.{name}.lokr_w2_a": torch.randn(out // 4, 2, generator=generator),
            f"diffusion_model.{name}.lokr_w2_b": torch.randn(2, 8, generator=generator) / 3,
            f"diffusion_model.{name}.alpha": torch.tensor(1.0),
        }
    transformer = fused(checkpoint.transformer)
    converted = _convert_non_diffusers_lokr_to_diffusers(dict(state))
    transformer.load_lora_adapter(converted, prefix="transformer", adapter_name="lokr")
    assert_equal(ours(checkpoint, tmp_path, state), velocity(transformer), checkpoint)


@pytest.mark.filterwarnings("ignore:Adapter 'default'. 5 LoRA tensor.s. have invalid shape")  # the biases
@pytest.mark.parametrize(
    "config",
    [
        LoHaConfig(r=4, alpha=4, init_weights=False),
        OFTConfig(oft_block_size=8, init_weights=False),
        OFTConfig(oft_block_size=8, block_share=True, init_weights=False),
        LoraConfig(r=4, lora_alpha=4, lora_bias=True, init_lora_weights=False),
    ],
    ids=["LoHa", "OFT", "OFT with one block", "LoRA with bias"],
)
def test_what_only_peft_writes(checkpoint: Checkpoint, tmp_path: Path, config: Any) -> None:
    """PEFT's own file of a random adapter against PEFT's own forward."""
    torch.manual_seed(5)
    config.target_modules = ["attn.to_q", "img_mlp.net.0.proj", "proj_out"]
    model: Any = get_peft_model(fused(checkpoint.transformer), config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "hada" in name:
                parameter.mul_(2)
    state = get_peft_model_state_dict(model)
    assert_equal(ours(checkpoint, tmp_path, state), velocity(model), checkpoint)
