"""What every quantized Linear has: the shape, the bias, and the dense weight on demand.

Quantized tensors are plain buffers, so moving, pinning and streaming need no special case. Knows no transformer.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Self

import torch
from torch import nn

# The smallest row maximum that is divided by. An all-zero row then gets a tiny scale instead of 0, and gives zeros.
AMAX_FLOOR = 1e-12


class QuantizedLinear(nn.Module, ABC):
    """A Linear layer whose weight is quantized. `precision` names the format."""

    precision: str
    bias: nn.Parameter | None

    def __init__(self, in_features: int, out_features: int, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.register_parameter("bias", None if bias is None else nn.Parameter(bias.detach(), requires_grad=False))

    @property
    @abstractmethod
    def kernel(self) -> str:
        """How the product is computed on the device that the weight lies on."""

    @abstractmethod
    def dequantize(self) -> torch.Tensor:
        """Return a dense copy of the weight [out, in], in float32."""

    def extra_repr(self) -> str:
        """Describe the layer like `nn.Linear` does."""
        return f"in_features={self.in_features}, out_features={self.out_features}, precision={self.precision}"

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        """Move the buffers but keep their dtypes: `.to(torch.bfloat16)` would destroy packed weights and scales."""
        own = {id(buffer) for buffer in self._buffers.values()}

        def move(tensor: torch.Tensor) -> torch.Tensor:
            moved = fn(tensor)
            return tensor.to(moved.device) if id(tensor) in own and moved.dtype != tensor.dtype else moved

        return super()._apply(move, recurse)


class ScaledLinear(QuantizedLinear):
    """A quantized Linear whose `weight` [out, in] has a `scale` [out] in float32 for each output channel."""

    weight: torch.Tensor
    scale: torch.Tensor

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__(weight.shape[1], weight.shape[0], bias)
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)

    def dequantize(self) -> torch.Tensor:
        """See `QuantizedLinear`."""
        return self.weight.float() * self.scale[:, None]


AnyLinear = nn.Linear | QuantizedLinear


def dense_weight(linear: AnyLinear) -> torch.Tensor:
    """Return the weight [out, in]: that of a Linear itself, or a dense copy of a quantized one in float32."""
    return linear.dequantize() if isinstance(linear, QuantizedLinear) else linear.weight


def row_scales(rows: torch.Tensor, largest: float) -> torch.Tensor:
    """Return the scale [rows, 1] in float32 that maps the largest magnitude of each row to `largest`."""
    return rows.abs().amax(dim=-1, keepdim=True).float().clamp_min(AMAX_FLOOR) / largest
