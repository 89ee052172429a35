import pytest
import torch
from torch import nn

from accel.weights.quantized.quantize import quantize_linear
from benchmarks.precisions.layer_errors import LayerErrors, watch_layers
from tests.accel.weights.quantized.linears import make_linear, make_rows, relative_error


def transformer() -> nn.Module:
    """Two blocks of an attention's query, one layer of the modulation, and a layer outside of the blocks."""
    blocks = nn.ModuleList(
        nn.ModuleDict({"attn": nn.ModuleDict({"to_q": make_linear(32, 16, seed=seed)}), "img_mod": make_linear(32, 16)})
        for seed in (1, 2)
    )
    return nn.ModuleDict({"transformer_blocks": blocks, "proj_out": make_linear(32, 16)})


def run(module: nn.Module, rows: torch.Tensor) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            layer(rows)


def test_each_quantized_layer_is_compared_with_itself() -> None:
    module, rows = transformer(), make_rows(8, 32)
    with watch_layers(module, "fp8") as errors:
        run(module, rows)
    expected = {}
    for number in (0, 1):
        layer = module.get_submodule(f"transformer_blocks.{number}.attn.to_q")
        assert isinstance(layer, nn.Linear)
        found = relative_error(quantize_linear(layer, "fp8")(rows), layer(rows))
        expected[f"transformer_blocks.{number}.attn.to_q"] = pytest.approx(found)
    assert errors.by_layer == expected


def test_nothing_stays_on_the_layers() -> None:
    module = transformer()
    with pytest.raises(ZeroDivisionError), watch_layers(module, "int8"):
        raise ZeroDivisionError
    assert not any(layer._forward_hooks for layer in module.modules())


def test_a_kind_has_its_median_and_its_worst_layer() -> None:
    errors, one = LayerErrors(), torch.ones(4)
    for number, error in enumerate((0.1, 0.3, 0.2)):
        errors.add(f"transformer_blocks.{number}.img_mlp.net.2", one + error, one)
    errors.add("transformer_blocks.0.attn.to_q", one, one)
    errors.add("transformer_blocks.0.attn.to_k", one, 0 * one)
    assert errors.by_kind == {
        "img_mlp.net.2": {"median": 0.2, "worst": 0.3, "worst_layer": "transformer_blocks.1.img_mlp.net.2"},
        "attn.to_q": {"median": 0.0, "worst": 0.0, "worst_layer": "transformer_blocks.0.attn.to_q"},
    }


def test_calls_of_a_layer_count_together() -> None:
    errors, one = LayerErrors(), torch.ones(2)
    errors.add("transformer_blocks.0.attn.to_q", one + 0.2, one)
    errors.add("transformer_blocks.0.attn.to_q", one, one)
    assert errors.by_layer == {"transformer_blocks.0.attn.to_q": pytest.approx((0.5 * 0.2**2) ** 0.5)}
