"""A Linear layer in NF4 (Dettmers et al. 2023, arXiv:2305.14314): 4 bits a weight, and a scale for each 64 weights.

bitsandbytes packs and unpacks the weight. The product is dense, in the dtype of the input. Knows no transformer.
"""

from types import ModuleType
from typing import Any, Literal, Self

import torch
from torch import nn
from torch.nn import functional

from accel.weights.quantized.base import QuantizedLinear

_BLOCK = 64  # weights that share a scale; bitsandbytes' default


class Nf4Linear(QuantizedLinear):
    """An NF4 Linear: `packed` bytes with two weights each, `absmax` [blocks] and the 16 values of `code` in float32."""

    precision = "nf4"
    packed: torch.Tensor
    absmax: torch.Tensor
    code: torch.Tensor

    def __init__(
        self,
        packed: torch.Tensor,
        absmax: torch.Tensor,
        code: torch.Tensor,
        shape: tuple[int, int],
        bias: torch.Tensor | None,
    ) -> None:
        """`shape` is (out, in)."""
        super().__init__(shape[1], shape[0], bias)
        self.register_buffer("packed", packed)
        self.register_buffer("absmax", absmax)
        self.register_buffer("code", code)

    @classmethod
    def from_linear(cls, linear: nn.Linear) -> Self:
        """Quantize a Linear. Raises `ValueError` without bitsandbytes."""
        weight = linear.weight.detach().contiguous()
        packed, state = _bitsandbytes().quantize_4bit(weight, blocksize=_BLOCK, quant_type="nf4")
        return cls(packed, state.absmax, state.code, (linear.out_features, linear.in_features), linear.bias)

    @property
    def kernel(self) -> Literal["dequantize"]:
        """See `QuantizedLinear`."""
        return "dequantize"

    def dequantize(self) -> torch.Tensor:
        """See `QuantizedLinear`."""
        return self._dense(torch.float32)

    def forward(self, sample: torch.Tensor) -> torch.Tensor:
        """Multiply [..., in] → [..., out], in the dtype of the input."""
        return functional.linear(sample, self._dense(sample.dtype), self.bias)

    def _dense(self, dtype: torch.dtype) -> torch.Tensor:
        library: Any = _bitsandbytes()
        state = library.QuantState(
            absmax=self.absmax,
            shape=torch.Size((self.out_features, self.in_features)),
            code=self.code,
            blocksize=_BLOCK,
            quant_type="nf4",
            dtype=dtype,
        )
        return library.dequantize_4bit(self.packed, state)


def _bitsandbytes() -> ModuleType:
    try:
        import bitsandbytes.functional
    except ImportError as error:
        raise ValueError("NF4 needs bitsandbytes: install ownware[gpu]") from error
    return bitsandbytes.functional
