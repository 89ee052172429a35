import pytest
import torch
from torch.nn import functional
from torchao.float8.inference import Float8MMConfig
from torchao.quantization import Float8Tensor, PerRow
from torchao.quantization.quantize_.workflows.float8.float8_tensor import QuantizeTensorToFloat8Kwargs

from accel.weights.quantized import fp8
from accel.weights.quantized.fp8 import FP8, Fp8Linear
from tests.accel.weights.quantized.linears import make_linear, make_rows, relative_error


@pytest.mark.parametrize("bias", [True, False])
def test_the_error_is_that_of_three_bits_of_mantissa(bias: bool) -> None:
    linear, rows = make_linear(512, 256, bias=bias), make_rows(40, 512)
    assert 0.01 < relative_error(Fp8Linear.from_linear(linear)(rows), linear(rows)) < 0.04


def test_all_zero_rows_give_the_bias_and_leave_other_rows_alone() -> None:
    linear, rows = make_linear(64, 32), make_rows(6, 64)
    layer = Fp8Linear.from_linear(linear)
    alone = layer(rows)
    rows[::2] = 0
    output = layer(rows)
    assert output.isfinite().all()
    assert torch.equal(output[::2], linear.bias.expand(3, -1))
    assert torch.equal(output[1::2], alone[1::2])


def test_an_all_zero_weight_gives_zeros() -> None:
    linear = make_linear(64, 32, bias=False)
    linear.weight[5] = 0
    output = Fp8Linear.from_linear(linear)(make_rows(6, 64))
    assert output.isfinite().all()
    assert not output[:, 5].any()


def test_a_row_does_not_depend_on_the_others() -> None:
    layer, rows = Fp8Linear.from_linear(make_linear(64, 32)), make_rows(6, 64)
    rows[1:] *= 1000
    torch.testing.assert_close(layer(rows)[:1], layer(rows[:1]), atol=1e-5, rtol=1e-5)


def test_an_infinite_input_shows_in_the_output() -> None:
    rows = make_rows(2, 64)
    rows[0, 0] = float("inf")
    output = Fp8Linear.from_linear(make_linear(64, 32))(rows)
    assert not output[0].isfinite().any()
    assert output[1].isfinite().all()


def test_the_kernel_of_gpus_computes_what_the_reference_does() -> None:
    layer, rows = Fp8Linear.from_linear(make_linear(512, 256)), make_rows(40, 512)
    assert layer.kernel == "reference"
    expected = layer(rows)
    scales = rows.abs().amax(1, keepdim=True) / 448
    actual = layer._scaled_mm((rows / scales).to(FP8), scales)
    assert actual.dtype == torch.bfloat16
    torch.testing.assert_close(actual, expected.bfloat16(), atol=0.02, rtol=0.01)


def test_the_kernel_of_gpus_is_part_of_a_compiled_graph() -> None:
    layer, rows = Fp8Linear.from_linear(make_linear(64, 32)), make_rows(40, 64)
    quantized = layer.quantize_rows(rows)
    compiled = torch.compile(layer._scaled_mm, fullgraph=True, dynamic=True, backend="aot_eager")
    assert torch.equal(compiled(*quantized), layer._scaled_mm(*quantized))


def test_a_compiled_graph_asks_the_device_once_for_its_units(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = list[torch.device]()

    def units(device: torch.device) -> bool:
        asked.append(device)
        return len(asked) < 2

    monkeypatch.setattr(fp8, "_known_fp8_units", units)
    rows = make_rows(4, 64)

    def doubled(sample: torch.Tensor) -> torch.Tensor:
        return sample * 2 if fp8._has_fp8_units(sample.device) else sample

    compiled = torch.compile(doubled, fullgraph=True, backend="eager")
    assert torch.equal(compiled(rows), 2 * rows)
    assert torch.equal(compiled(rows), 2 * rows)
    assert asked == [rows.device]


def test_torchao_agrees() -> None:
    linear, rows = make_linear(512, 256).bfloat16(), make_rows(40, 512).bfloat16()
    rows[3] = 0
    # What Float8DynamicActivationFloat8WeightConfig builds; the configuration itself refuses a CPU.
    by_row = PerRow()
    activations = QuantizeTensorToFloat8Kwargs(granularity=by_row, hp_value_lb=1e-12)
    config = Float8MMConfig(use_fast_accum=True)
    oracle = Float8Tensor.from_hp(linear.weight, granularity=by_row, act_quant_kwargs=activations, mm_config=config)
    layer = Fp8Linear.from_linear(linear)
    torch.testing.assert_close(layer.scale, oracle.scale[:, 0])
    equal = layer.weight.float() == oracle.qdata.float()
    assert equal.float().mean() > 0.95  # bfloat16 has many ties, which round either way
    actual, expected, exact = layer(rows), functional.linear(rows, oracle, linear.bias), linear(rows)
    assert torch.equal(actual[3], expected[3])
    assert relative_error(actual, expected) < 0.5 * relative_error(expected, exact)
    assert relative_error(actual, exact) < 1.05 * relative_error(expected, exact)


@pytest.mark.parametrize("scale", [torch.tensor(0.25), torch.tensor([[0.25]]), torch.full((32, 1), 0.25)])
def test_a_scaled_weight_is_taken_as_it_is(scale: torch.Tensor) -> None:
    weight = make_rows(32, 64).to(FP8)
    layer = Fp8Linear.from_scaled(weight, scale, None)
    assert layer.weight.data_ptr() == weight.data_ptr()
    assert torch.equal(layer.dequantize(), weight.float() * 0.25)


def test_a_wrong_number_of_scales_is_refused() -> None:
    with pytest.raises(ValueError, match="a weight of 32 channels has 5 scales"):
        Fp8Linear.from_scaled(make_rows(32, 64).to(FP8), torch.ones(5), None)


def test_e5m2_is_storage_only() -> None:
    weight, rows = make_rows(32, 64).to(torch.float8_e5m2), make_rows(3, 64)
    layer = Fp8Linear.from_scaled(weight, torch.tensor(2.0), torch.ones(32))
    assert layer.kernel == "dequantize"
    assert torch.equal(layer(rows), functional.linear(rows, weight.float() * 2, torch.ones(32)))
