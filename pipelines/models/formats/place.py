"""Places a Linear layer on a device, in the precision that the plan asks for.

This is the one place where what a file stores meets what a plan wants. Knows layers; knows no file and no network.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import nn

from accel.weights.quantized.fp8 import FP8, Fp8Linear
from accel.weights.quantized.gguf import GgufLinear
from accel.weights.quantized.quantize import quantize_linear
from pipelines.models.formats.stored_tensors import BlockTensor, ScaledTensor, StoredTensor
from pipelines.models.plan import Precision


def _every_layer(name: str) -> bool:
    """Accept each name."""
    return True


def no_layer(name: str) -> bool:
    """Accept no name."""
    return False


@dataclass(frozen=True, slots=True)
class Placement:
    """Where weights go, what the network calculates in, and the precision of the Linear layers that `chosen` accepts.

    The other Linear layers are as precise as `dtype`. The modules that `waits` accepts go on to host memory.
    """

    device: torch.device
    dtype: torch.dtype
    precision: Precision
    chosen: Callable[[str], bool] = _every_layer
    waits: Callable[[str], bool] = no_layer


def place_linear(name: str, linear: nn.Linear, stored: Mapping[str, StoredTensor], placement: Placement) -> nn.Module:
    """Give a Linear its weight and bias, and return it, or the quantized layer that replaces it.

    FP8 weights of a file stay as they are under `fp8`, and blocks of GGUF under `packed`. Raises `ValueError` without
    the library of a precision.
    """
    weight, bias = stored["weight"], stored.get("bias")
    dense_bias = None if bias is None else bias.dense(placement.dtype)
    precision = placement.precision if placement.chosen(name) else None
    if precision == "fp8" and isinstance(weight, ScaledTensor) and weight.values.dtype == FP8:
        return Fp8Linear.from_scaled(weight.values, weight.scale, dense_bias)
    if precision == "packed" and isinstance(weight, BlockTensor) and len(weight.blocks) == linear.out_features:
        return GgufLinear.from_packed(weight.blocks, weight.kind, dense_bias)
    linear.register_parameter("weight", nn.Parameter(weight.dense(placement.dtype), requires_grad=False))
    linear.register_parameter("bias", None if dense_bias is None else nn.Parameter(dense_bias, requires_grad=False))
    if precision in ("fp8", "int8", "nf4"):
        return quantize_linear(linear, precision)
    return linear
