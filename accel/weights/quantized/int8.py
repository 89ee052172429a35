"""A Linear layer in int8: a scale for each output channel, and one for each row of the input.

The product is `torch._int_mm`. bitsandbytes' int8 layer would pass the input through float16, where activations of
Qwen-Image overflow. Knows no transformer.
"""

from typing import Literal, Self

import torch
from torch import nn
from torch.nn import functional

from accel.weights.quantized.base import QuantizedRows, ScaledLinear, row_scales

INT8_MAX = 127.0
# CUDA multiplies no fewer than 17 rows, so fewer rows are padded to this many. Rows do not affect each other.
_PADDED_ROWS = 32
_FEWEST_ROWS = 17
# The kernels of CUDA need both sides of the weight to be multiples of this.
_ALIGNMENT = 8

Int8Kernel = Literal["int_mm", "dequantize"]


class Int8Linear(ScaledLinear):
    """An int8 Linear: `weight` [out, in] in int8, `scale` [out] in float32."""

    precision = "int8"

    @classmethod
    def from_linear(cls, linear: nn.Linear) -> Self:
        """Quantize a Linear, with a scale for each output channel."""
        weight = linear.weight.detach()
        scale = row_scales(weight, INT8_MAX)
        return cls(_quantize(weight, scale), scale[:, 0], linear.bias)

    @property
    def kernel(self) -> Int8Kernel:
        """`int_mm`, or `dequantize` for a weight of odd size."""
        return "int_mm" if self.in_features % _ALIGNMENT == 0 == self.out_features % _ALIGNMENT else "dequantize"

    def quantize_rows(self, rows: torch.Tensor) -> QuantizedRows:
        """See `ScaledLinear`."""
        scales = row_scales(rows, INT8_MAX)
        return QuantizedRows(_quantize(rows, scales), scales)

    def multiply(self, rows: QuantizedRows) -> torch.Tensor:
        """See `ScaledLinear`."""
        quantized, count = rows.values, len(rows.values)
        if count < _FEWEST_ROWS:
            quantized = functional.pad(quantized, (0, 0, 0, _PADDED_ROWS - count))
        sums = torch._int_mm(quantized, self.weight.t())[:count]  # pyright: ignore[reportPrivateImportUsage]
        product = sums * rows.scales * self.scale
        return product if self.bias is None else product + self.bias


def _quantize(rows: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
    return (rows.float() / scales).round().to(torch.int8)
