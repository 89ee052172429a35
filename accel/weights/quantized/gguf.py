"""A Linear layer whose weight stays packed in GGUF blocks and is dequantized in each forward.

The formulas are diffusers'; the block sizes are the gguf package's. Knows no file and no transformer.
"""

from typing import Any, Literal, Self

import torch
from torch.nn import functional

from accel.weights.quantized.base import QuantizedLinear


class GgufLinear(QuantizedLinear):
    """A packed Linear: `blocks` [out, bytes a row] in uint8, all of the quantization type `kind`, such as "Q4_K"."""

    precision = "packed"
    blocks: torch.Tensor

    def __init__(self, blocks: torch.Tensor, kind: str, in_features: int, bias: torch.Tensor | None) -> None:
        super().__init__(in_features, len(blocks), bias)
        self.kind = kind
        self.register_buffer("blocks", blocks)

    @classmethod
    def from_packed(cls, blocks: torch.Tensor, kind: str, bias: torch.Tensor | None) -> Self:
        """Take a weight as a GGUF file holds it. Raises `ValueError` for an unknown type, or without gguf."""
        elements, size = block_layout(kind)
        if blocks.shape[1] % size:
            raise ValueError(f"a row of {blocks.shape[1]} bytes is no whole number of {kind} blocks of {size} bytes")
        return cls(blocks, kind, blocks.shape[1] // size * elements, bias)

    @property
    def kernel(self) -> Literal["dequantize"]:
        """See `QuantizedLinear`."""
        return "dequantize"

    def dequantize(self) -> torch.Tensor:
        """See `QuantizedLinear`."""
        return dequantize_blocks(self.blocks, self.kind)

    def forward(self, sample: torch.Tensor) -> torch.Tensor:
        """Multiply [..., in] → [..., out], in the dtype of the input."""
        return functional.linear(sample, self.dequantize().to(sample.dtype), self.bias)

    def extra_repr(self) -> str:
        """Describe the layer like `nn.Linear` does."""
        return f"{super().extra_repr()}, kind={self.kind}"


def block_layout(kind: str) -> tuple[int, int]:
    """Return the weights and the bytes of a block. Raises `ValueError` for an unknown type, or without gguf."""
    gguf, known = _libraries()
    quantization = getattr(gguf.GGMLQuantizationType, kind, None)
    if quantization not in known:
        raise ValueError(f"the GGUF type {kind} is not supported: use a file of type Q2_K to Q8_0, or BF16")
    return gguf.GGML_QUANT_SIZES[quantization]


def dequantize_blocks(blocks: torch.Tensor, kind: str) -> torch.Tensor:
    """Return the dense tensor [rows, width] of packed rows [rows, bytes], in float32.

    The values equal those of `gguf.quants`, bit for bit. Raises `ValueError` for an unknown type, or without gguf.
    """
    elements, size = block_layout(kind)
    gguf, functions = _libraries()
    function = functions[gguf.GGMLQuantizationType[kind]]
    return function(blocks.reshape(-1, size), elements, size, torch.float32).float().reshape(len(blocks), -1)


def _libraries() -> tuple[Any, Any]:
    try:
        import gguf
        from diffusers.quantizers.gguf.utils import dequantize_functions
    except ImportError as error:
        raise ValueError("GGUF files need the gguf package: install ownware[gpu]") from error
    return gguf, dequantize_functions
