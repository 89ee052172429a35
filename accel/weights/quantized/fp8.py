"""A Linear layer in FP8 (e4m3): a scale for each output channel, and one for each row of the input.

GPUs with FP8 units multiply in FP8. CPUs compute the same numbers in float32. Other GPUs only store the weight in FP8.
Knows no transformer.
"""

from functools import cache
from typing import Literal, Self

import torch
from torch import nn
from torch.nn import functional

from accel.weights.quantized.base import QuantizedRows, ScaledLinear, row_scales

FP8 = torch.float8_e4m3fn
FP8_MAX = torch.finfo(FP8).max  # 448
# The kernels of CUDA need both sides of the weight to be multiples of this.
_ALIGNMENT = 16
_FIRST_CAPABILITY = (8, 9)  # Ada; Hopper is 9.0

Fp8Kernel = Literal["scaled_mm", "reference", "dequantize"]


class Fp8Linear(ScaledLinear):
    """An FP8 Linear: `weight` [out, in] in e4m3 or e5m2, `scale` [out] in float32."""

    precision = "fp8"

    @classmethod
    def from_linear(cls, linear: nn.Linear) -> Self:
        """Quantize a Linear, with a scale for each output channel."""
        weight = linear.weight.detach()
        scale = row_scales(weight, FP8_MAX)
        return cls((weight.float() / scale).to(FP8), scale[:, 0], linear.bias)

    @classmethod
    def from_scaled(cls, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None) -> Self:
        """Take an FP8 weight as a file holds it. `scale` has one element, or one for each output channel.

        Raises `ValueError` for another number of scales.
        """
        if scale.numel() not in (1, len(weight)):
            raise ValueError(f"a weight of {len(weight)} channels has {scale.numel()} scales")
        return cls(weight, scale.detach().float().reshape(-1).expand(len(weight)).contiguous(), bias)

    @property
    def kernel(self) -> Fp8Kernel:
        """`scaled_mm` where the device has FP8 units, `reference` on a CPU, `dequantize` elsewhere."""
        if self.weight.dtype != FP8:
            return "dequantize"
        if self.weight.device.type == "cpu":
            return "reference"
        aligned = self.in_features % _ALIGNMENT == 0 == self.out_features % _ALIGNMENT
        return "scaled_mm" if aligned and _has_fp8_units(self.weight.device) else "dequantize"

    def quantize_rows(self, rows: torch.Tensor) -> QuantizedRows:
        """See `ScaledLinear`."""
        scales = row_scales(rows, FP8_MAX)
        return QuantizedRows((rows.float() / scales).to(FP8), scales)

    def multiply(self, rows: QuantizedRows) -> torch.Tensor:
        """See `ScaledLinear`."""
        return self._scaled_mm(*rows) if self.kernel == "scaled_mm" else self._reference(*rows)

    def _scaled_mm(self, rows: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        bias = None if self.bias is None else self.bias.to(torch.bfloat16)
        # Not `functional.scaled_mm`: the compiler of torch 2.11 cannot trace it.
        return torch._scaled_mm(  # pyright: ignore[reportPrivateImportUsage]
            rows,
            self.weight.t(),
            scale_a=scales,
            scale_b=self.scale[None],
            bias=bias,
            out_dtype=torch.bfloat16,
            use_fast_accum=True,
        )

    def _reference(self, rows: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        product = functional.linear(rows.float(), self.weight.float()) * scales * self.scale
        return product if self.bias is None else product + self.bias


@torch.compiler.assume_constant_result  # the compiler cannot trace a cache
def _has_fp8_units(device: torch.device) -> bool:
    return _known_fp8_units(device)


@cache
def _known_fp8_units(device: torch.device) -> bool:
    if device.type != "cuda" or torch.version.hip is not None:
        return False
    return torch.cuda.get_device_capability(device) >= _FIRST_CAPABILITY
