import pytest
import torch

from accel.weights.quantized.base import AMAX_FLOOR, QuantizedLinear, forward_together, row_scales
from accel.weights.quantized.fp8 import Fp8Linear
from accel.weights.quantized.gguf import GgufLinear
from accel.weights.quantized.int8 import Int8Linear
from accel.weights.quantized.nf4 import Nf4Linear
from tests.accel.weights.quantized.linears import make_linear, make_rows


def layers() -> list[QuantizedLinear]:
    linear = make_linear(64, 32)
    packed = torch.zeros(32, 68, dtype=torch.uint8)
    made = [kind.from_linear(linear) for kind in (Fp8Linear, Int8Linear, Nf4Linear)]
    return [*made, GgufLinear.from_packed(packed, "Q8_0", linear.bias)]


@pytest.mark.parametrize("layer", layers(), ids=lambda layer: layer.precision)
class TestEveryLayer:
    def test_its_shape_and_bias_are_those_of_a_linear(self, layer: QuantizedLinear) -> None:
        assert (layer.in_features, layer.out_features) == (64, 32)
        assert layer.dequantize().shape == (32, 64)
        assert layer.dequantize().dtype == torch.float32
        assert layer.bias is not None
        assert not layer.bias.requires_grad
        assert f"precision={layer.precision}" in repr(layer)

    def test_a_change_of_dtype_keeps_the_packed_weight(self, layer: QuantizedLinear) -> None:
        before = layer.dequantize()
        changed = layer.to(torch.bfloat16)
        assert torch.equal(changed.dequantize(), before)
        assert changed.bias is not None
        assert changed.bias.dtype == torch.bfloat16

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_the_output_has_the_dtype_and_the_leading_sizes_of_the_input(
        self, layer: QuantizedLinear, dtype: torch.dtype
    ) -> None:
        layer = layer.to(dtype)
        output = layer(make_rows(2, 3, 64).to(dtype))
        assert output.shape == (2, 3, 32)
        assert output.dtype == dtype


def test_the_scale_of_a_row_maps_its_largest_magnitude() -> None:
    scales = row_scales(torch.tensor([[1.0, -4.0], [0.0, 0.0]]), 2)
    assert scales.tolist() == [[2.0], [pytest.approx(AMAX_FLOOR / 2)]]


class TestTogether:
    @pytest.mark.parametrize("kind", [Fp8Linear, Int8Linear])
    def test_one_input_is_quantized_once(
        self, kind: type[Fp8Linear | Int8Linear], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made, sample = [kind.from_linear(make_linear(64, 32, seed=seed)) for seed in (1, 2, 3)], make_rows(2, 20, 64)
        expected, quantize, inputs = [layer(sample) for layer in made], kind.quantize_rows, []

        def counted(layer: Fp8Linear, rows: torch.Tensor) -> object:
            inputs.append(rows)
            return quantize(layer, rows)  # pyright: ignore[reportArgumentType]  either of the two

        monkeypatch.setattr(kind, "quantize_rows", counted)
        found = forward_together(made, sample)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
        assert len(inputs) == 1

    def test_layers_of_several_kinds_run_by_themselves(self) -> None:
        sample, linear = make_rows(20, 64), make_linear(64, 32)
        for made in ([*layers()], [linear, Fp8Linear.from_linear(linear)], [linear, linear]):
            found = forward_together(made, sample)
            assert all(torch.equal(a, layer(sample)) for a, layer in zip(found, made, strict=True))
