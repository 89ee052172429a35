"""LoRAs of every kind over quantized layers: an exact addition, switched on and off, and nothing merged."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import gguf
import pytest
import torch
from torch import nn

from accel.weights.quantized.base import QuantizedLinear, dense_weight
from accel.weights.quantized.gguf import GgufLinear
from accel.weights.quantized.quantize import quantize
from pipelines.lora.apply import apply_loras, load_lora, select_loras
from pipelines.lora.deltas import Delta, DoRA
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from pipelines.request import LoraUse
from tests.adapters import fused, linear_of, multiplied, named, random_adapter, velocity, write

Q = "transformer_blocks.0.attn.to_q"  # 32 to 32


def pack(transformer: nn.Module) -> None:
    """Pack every Linear whose rows are whole blocks of Q8_0."""
    for name, child in list(transformer.named_modules()):
        if isinstance(child, nn.Linear) and child.in_features % 32 == 0:
            packed = gguf.quants.quantize(child.weight.detach().numpy(), gguf.GGMLQuantizationType.Q8_0)
            transformer.set_submodule(name, GgufLinear.from_packed(torch.from_numpy(packed), "Q8_0", child.bias))


@pytest.fixture(scope="module", params=["fp8", "int8", "nf4", "packed"])
def model(request: pytest.FixtureRequest, checkpoint: Checkpoint) -> LoadedModel:
    transformer = copy.deepcopy(checkpoint.transformer)
    if request.param == "packed":
        pack(transformer)
    else:
        quantize(transformer, request.param)
    return LoadedModel(replace(checkpoint, transformer=transformer))


def dense(transformer: nn.Module) -> Any:
    """A copy with dense layers that hold the values of the quantized ones."""
    copied = copy.deepcopy(transformer)
    for name, child in list(copied.named_modules()):
        if isinstance(child, QuantizedLinear):
            linear = nn.Linear(child.in_features, child.out_features, bias=child.bias is not None).requires_grad_(False)
            linear.weight.copy_(child.dequantize())
            if child.bias is not None:
                linear.bias.copy_(child.bias)
            copied.set_submodule(name, linear)
    return copied


def with_loras(model: LoadedModel, *uses: LoraUse) -> torch.Tensor:
    with apply_loras(select_loras(uses, model)):
        return velocity(model.checkpoint.transformer)


@pytest.fixture
def two(tmp_path: Path, checkpoint: Checkpoint) -> list[LoraUse]:
    paths = [
        write(tmp_path / f"{seed}.safetensors", named(random_adapter(checkpoint.transformer, seed))) for seed in (1, 2)
    ]
    return [LoraUse(path.stem, path, 0.5) for path in paths]


def test_without_a_lora_the_output_stays_bit_for_bit(model: LoadedModel, two: list[LoraUse]) -> None:
    plain, first, both = with_loras(model), with_loras(model, two[0]), with_loras(model, *two)
    assert (first - plain).abs().max() > 0.1
    assert (both - first).abs().max() > 0.1
    assert torch.equal(with_loras(model), plain)
    assert torch.equal(with_loras(model, two[0]), first)


def test_the_addition_to_a_layer_is_exact(model: LoadedModel, two: list[LoraUse], checkpoint: Checkpoint) -> None:
    layer = model.checkpoint.transformer.get_submodule(Q)
    assert isinstance(layer, QuantizedLinear)
    sample = torch.randn(5, 32, generator=torch.Generator().manual_seed(1))
    plain = layer(sample)
    with apply_loras(select_loras(two, model)):
        added = layer(sample) - plain
    down_up = [random_adapter(checkpoint.transformer, seed)[Q] for seed in (1, 2)]
    expected = sum(0.5 * sample @ down.T @ up.T for down, up in down_up)
    torch.testing.assert_close(added, expected, atol=2e-6, rtol=2e-6)


def test_several_add_up(model: LoadedModel, two: list[LoraUse], checkpoint: Checkpoint) -> None:
    transformer = model.checkpoint.transformer
    changes = [multiplied(random_adapter(checkpoint.transformer, seed), 0.5) for seed in (1, 2)]
    expected = velocity(fused(dense(transformer), *changes))
    # The layers that round their input are as near to the dense copy as they are without a LoRA.
    error = (velocity(transformer) - velocity(dense(transformer))).abs().max()
    assert error < 0.2
    torch.testing.assert_close(with_loras(model, *two), expected, atol=4 * error.item() + 2e-4, rtol=0)


@pytest.mark.parametrize("by_input", [False, True])
def test_a_dora_takes_the_weights_that_the_layer_holds(model: LoadedModel, tmp_path: Path, by_input: bool) -> None:
    transformer = model.checkpoint.transformer
    down, up = random_adapter(dense(transformer), 1)[Q]
    magnitude = torch.rand((1, 32) if by_input else (32,), generator=torch.Generator().manual_seed(2)) + 0.5
    state = named({Q: (down, up)}) | {f"{Q}.lora_magnitude_vector": magnitude}
    file = load_lora(write(tmp_path / "dora.safetensors", state), model)
    (delta,) = file.deltas[Q]
    assert isinstance(delta, DoRA)
    adapted = linear_of(dense(transformer), Q).weight + up @ down
    gain = magnitude.flatten() / adapted.norm(dim=0 if by_input else 1)
    torch.testing.assert_close(delta.gain, gain)
    check_addition(transformer.get_submodule(Q), delta, adapted * (gain if by_input else gain[:, None]))


def check_addition(layer: nn.Module, delta: Delta, expected: torch.Tensor) -> None:
    """The delta makes of the layer's own output that of the expected weight, as exactly as the layer calculates."""
    assert isinstance(layer, QuantizedLinear)
    sample = torch.randn(5, 32, generator=torch.Generator().manual_seed(1))
    output = layer(sample)
    own = nn.functional.linear(sample, dense_weight(layer), layer.bias)
    actual = output + delta(layer, sample, output)
    error = (output - own).abs().max().item()
    torch.testing.assert_close(
        actual, nn.functional.linear(sample, expected, layer.bias), atol=3 * error + 1e-5, rtol=1e-5
    )


def test_an_oft_rotates_a_quantized_layer(model: LoadedModel, tmp_path: Path) -> None:
    vectors = torch.randn(2, 120, generator=torch.Generator().manual_seed(3)) * 0.05  # two blocks of 16
    file = load_lora(write(tmp_path / "oft.safetensors", {f"{Q}.oft_R.weight": vectors}), model)
    (delta,) = file.deltas[Q]
    layer = model.checkpoint.transformer.get_submodule(Q)
    assert isinstance(layer, QuantizedLinear)
    rotation = torch.eye(32) + torch.block_diag(*getattr(delta, "blocks"))  # noqa: B009  a field of one kind
    check_addition(layer, delta, layer.dequantize() @ rotation.T)
