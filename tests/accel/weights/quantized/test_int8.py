from typing import Any

import bitsandbytes.functional
import pytest
import torch

from accel.weights.quantized.int8 import Int8Linear
from tests.accel.weights.quantized.linears import make_linear, make_rows, relative_error


@pytest.mark.parametrize("bias", [True, False])
def test_the_error_is_that_of_eight_bits(bias: bool) -> None:
    linear, rows = make_linear(512, 256, bias=bias), make_rows(40, 512)
    assert 0.002 < relative_error(Int8Linear.from_linear(linear)(rows), linear(rows)) < 0.02


def test_all_zero_rows_give_the_bias() -> None:
    linear = make_linear(64, 32)
    output = Int8Linear.from_linear(linear)(torch.zeros(4, 64))
    assert torch.equal(output, linear.bias.expand(4, -1))


def test_few_rows_equal_the_same_rows_among_many(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, rows = Int8Linear.from_linear(make_linear(64, 32)), make_rows(40, 64)
    multiply, counts = torch._int_mm, list[int]()  # pyright: ignore[reportPrivateImportUsage]

    def like_cuda(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        counts.append(len(left))
        if len(left) <= 16:
            raise RuntimeError("self.size(0) needs to be greater than 16")
        return multiply(left, right)

    monkeypatch.setattr(torch, "_int_mm", like_cuda)
    expected = layer(rows)
    for count in (1, 2, 16, 17, 39):
        assert torch.equal(layer(rows[:count]), expected[:count])
    assert counts == [40, 32, 32, 32, 17, 39]


def test_activations_beyond_float16_stay_finite() -> None:
    linear = make_linear(64, 32)
    rows = make_rows(4, 64).bfloat16() * 1e6
    output = Int8Linear.from_linear(linear)(rows)
    assert relative_error(output, linear(rows.float())) < 0.02


def test_a_weight_of_odd_size_is_dequantized() -> None:
    linear, rows = make_linear(20, 12), make_rows(4, 20)
    layer = Int8Linear.from_linear(linear)
    assert layer.kernel == "dequantize"
    torch.testing.assert_close(layer(rows), rows @ layer.dequantize().T + linear.bias)


def test_bitsandbytes_quantizes_and_multiplies_alike() -> None:
    library: Any = bitsandbytes.functional
    linear, rows = make_linear(64, 32, bias=False).half(), make_rows(4, 64).half()
    layer = Int8Linear.from_linear(linear)
    weight, largest, _ = library.int8_vectorwise_quant(linear.weight)
    torch.testing.assert_close(layer.weight, weight, atol=1, rtol=0)
    torch.testing.assert_close(layer.scale, largest.float() / 127)
    quantized, by_row, _ = library.int8_vectorwise_quant(rows)
    expected = library.int8_mm_dequant(library.int8_linear_matmul(quantized, weight), by_row, largest)
    torch.testing.assert_close(layer(rows), expected, atol=0.03, rtol=0)
