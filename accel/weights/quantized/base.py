"""What every quantized Linear has: the shape, the bias, and the dense weight on demand.

Quantized tensors are plain buffers, so moving, pinning and streaming need no special case. Knows no transformer.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

import torch
from torch import nn
from torch.nn import functional

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


class QuantizedRows(NamedTuple):
    """An input in the format of the weight: `values` [rows, in], and `scales` [rows, 1] in float32."""

    values: torch.Tensor
    scales: torch.Tensor


class ScaledLinear(QuantizedLinear):
    """A quantized Linear whose `weight` [out, in] has a `scale` [out] in float32 for each output channel.

    Where the kernel is not `dequantize`, the input is quantized too, with a scale for each row.
    """

    weight: torch.Tensor
    scale: torch.Tensor

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__(weight.shape[1], weight.shape[0], bias)
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)

    def dequantize(self) -> torch.Tensor:
        """See `QuantizedLinear`."""
        return self.weight.float() * self.scale[:, None]

    @abstractmethod
    def quantize_rows(self, rows: torch.Tensor) -> QuantizedRows:
        """Quantize an input [rows, in]. All layers of a class do it alike, so they can share the result."""

    @abstractmethod
    def multiply(self, rows: QuantizedRows) -> torch.Tensor:
        """Return the product with the bias, [rows, out], in the dtype that the kernel gives."""

    def forward(self, sample: torch.Tensor) -> torch.Tensor:
        """Multiply [..., in] → [..., out], in the dtype of the input."""
        if self.kernel == "dequantize":
            return functional.linear(sample, self.dequantize().to(sample.dtype), self.bias)
        return self.forward_quantized(self.quantize_rows(sample.reshape(-1, self.in_features)), sample)

    def forward_quantized(self, rows: QuantizedRows, sample: torch.Tensor) -> torch.Tensor:
        """What `forward` returns for a sample whose rows are quantized already."""
        return self.multiply(rows).to(sample.dtype).reshape(*sample.shape[:-1], self.out_features)


def forward_together(layers: Sequence[nn.Module], sample: torch.Tensor) -> list[torch.Tensor]:
    """The outputs of several layers for one input [..., in], which is quantized once where all of them quantize it.

    The bits are those of separate calls. Forward hooks of the layers do not run where the input is shared.
    """
    scaled = [layer for layer in layers if isinstance(layer, ScaledLinear) and layer.kernel != "dequantize"]
    if len(scaled) < len(layers) or len({type(layer) for layer in scaled}) > 1:
        return [layer(sample) for layer in layers]
    rows = scaled[0].quantize_rows(sample.reshape(-1, sample.shape[-1]))
    return [layer.forward_quantized(rows, sample) for layer in scaled]


AnyLinear = nn.Linear | QuantizedLinear


def dense_weight(linear: AnyLinear) -> torch.Tensor:
    """Return the weight [out, in]: that of a Linear itself, or a dense copy of a quantized one in float32."""
    return linear.dequantize() if isinstance(linear, QuantizedLinear) else linear.weight


def row_scales(rows: torch.Tensor, largest: float) -> torch.Tensor:
    """Return the scale [rows, 1] in float32 that maps the largest magnitude of each row to `largest`."""
    return rows.abs().amax(dim=-1, keepdim=True).float().clamp_min(AMAX_FLOOR) / largest
