import copy
import gc
import weakref
from typing import get_args

import pytest
import torch
from torch import nn

from accel.weights.quantized.base import QuantizedLinear
from accel.weights.quantized.quantize import QuantizedPrecision, describe_linears, quantize, quantize_linear
from pipelines.models.checkpoint import Checkpoint
from tests.accel.weights.quantized.linears import make_linear, make_rows


def make_module() -> nn.Sequential:
    return nn.Sequential(make_linear(64, 64, seed=1), nn.Sequential(nn.GELU(), make_linear(64, 32, seed=2)))


@pytest.mark.parametrize("precision", get_args(QuantizedPrecision))
class TestEveryPrecision:
    def test_every_linear_is_replaced(self, precision: QuantizedPrecision) -> None:
        module = make_module()
        expected = copy.deepcopy(module)
        assert quantize(module, precision) == 2
        assert not [child for child in module.modules() if isinstance(child, nn.Linear)]
        for name in ("0", "1.1"):
            layer, linear = module.get_submodule(name), expected.get_submodule(name)
            assert isinstance(layer, QuantizedLinear)
            assert isinstance(linear, nn.Linear)
            assert layer.precision == precision
            rows = make_rows(5, 64)
            assert torch.equal(layer(rows), quantize_linear(linear, precision)(rows))

    def test_a_skipped_layer_stays(self, precision: QuantizedPrecision) -> None:
        module = make_module()
        assert quantize(module, precision, skip=lambda name: name.startswith("1.")) == 1
        assert isinstance(module.get_submodule("1.1"), nn.Linear)

    def test_a_transformer_has_a_finite_output(self, precision: QuantizedPrecision, trained: Checkpoint) -> None:
        transformer = copy.deepcopy(trained.transformer)
        quantize(transformer, precision)
        with torch.inference_mode():
            output = transformer(
                hidden_states=make_rows(1, 6, transformer.config["in_channels"]),
                timestep=torch.tensor([0.5]),
                encoder_hidden_states=make_rows(1, 7, transformer.config["joint_attention_dim"]),
                encoder_hidden_states_mask=None,
                img_shapes=[[(1, 2, 3)]],
                return_dict=False,
            )[0]
        assert output.isfinite().all()


def test_layers_are_replaced_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    module = make_module()
    alive = [weakref.ref(child) for child in module.modules() if isinstance(child, nn.Linear)]
    counts: list[int] = []

    def counting(linear: nn.Linear, precision: QuantizedPrecision) -> QuantizedLinear:
        gc.collect()
        counts.append(sum(reference() is not None for reference in alive))
        return quantize_linear(linear, precision)

    monkeypatch.setattr("accel.weights.quantized.quantize.quantize_linear", counting)
    quantize(module, "fp8")
    assert counts == [2, 1]


def test_the_layers_are_counted_by_format() -> None:
    module = make_module()
    quantize(module, "fp8", skip=lambda name: name == "0")
    described = describe_linears(module)
    assert dict(described.layers) == {"float32": 1, "fp8/reference": 1}
    assert described.bytes == (64 * 64 + 64) * 4 + 64 * 32 + 32 * 4 + 32 * 4
