"""Replaces the Linear layers of a module by quantized ones, one at a time.

At most one layer exists in both forms. Knows modules; knows no card and no plan.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from torch import nn

from accel.weights.quantized.base import QuantizedLinear
from accel.weights.quantized.fp8 import Fp8Linear
from accel.weights.quantized.int8 import Int8Linear
from accel.weights.quantized.nf4 import Nf4Linear

QuantizedPrecision = Literal["fp8", "int8", "nf4"]

_MAKERS: Mapping[QuantizedPrecision, Callable[[nn.Linear], QuantizedLinear]] = MappingProxyType(
    {"fp8": Fp8Linear.from_linear, "int8": Int8Linear.from_linear, "nf4": Nf4Linear.from_linear}
)


@dataclass(frozen=True, slots=True)
class LinearWeights:
    """What the Linear layers of a module are, for reports: formats, kernels and bytes.

    `layers` maps a format, such as `fp8/scaled_mm` or `bfloat16`, to its number of layers. `bytes` counts all
    parameters and buffers of the module.
    """

    layers: Mapping[str, int]
    bytes: int


def quantize_linear(linear: nn.Linear, precision: QuantizedPrecision) -> QuantizedLinear:
    """Return the quantized counterpart of a Linear, on the same device. Raises `ValueError` without its library."""
    return _MAKERS[precision](linear)


def quantize(
    module: nn.Module,
    precision: QuantizedPrecision,
    *,
    skip: Callable[[str], bool] = lambda name: False,
    device: torch.device | None = None,
) -> int:
    """Replace the Linear layers of a module in place, except those whose name `skip` accepts. Return their number.

    Each layer is quantized on `device`, and stays there; by default it stays where it is. Raises `ValueError` without
    the library of the precision.
    """
    linears = [(name, child) for name, child in module.named_modules() if isinstance(child, nn.Linear)]
    chosen = [(name, child) for name, child in linears if name and not skip(name)]
    del linears
    count = len(chosen)
    while chosen:
        name, linear = chosen.pop()
        module.set_submodule(name, quantize_linear(linear.to(device), precision))
    return count


def describe_linears(module: nn.Module) -> LinearWeights:
    """Count the Linear layers of a module by format and kernel."""
    layers: dict[str, int] = {}
    for child in module.modules():
        if isinstance(child, QuantizedLinear):
            form = f"{child.precision}/{child.kernel}"
        elif isinstance(child, nn.Linear):
            form = str(child.weight.dtype).removeprefix("torch.")
        else:
            continue
        layers[form] = layers.get(form, 0) + 1
    tensors = [*module.parameters(), *module.buffers()]
    return LinearWeights(MappingProxyType(layers), sum(tensor.nbytes for tensor in tensors))
