"""Reads one tensor of a weights file at a time, as it is stored, and turns it into numbers where they are needed.

The bytes are read, and not mapped into memory. Pages of a mapped file stay in the memory of the process. A file that is
replaced while it is mapped ends the process.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch

from accel.weights.quantized.gguf import dequantize_blocks
from pipelines.models.formats.containers.gguf_header import KINDS
from pipelines.models.formats.containers.headers import FormatError, TensorEntry
from pipelines.models.formats.scales import AnyEntry, JoinedEntry

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_FP8 = (torch.float8_e4m3fn, torch.float8_e5m2)
_GGUF_BLOCKS = {name: (elements, size) for name, elements, size in KINDS.values() if elements > 1}


@dataclass(frozen=True, slots=True)
class PlainTensor:
    """Values as they are."""

    values: torch.Tensor

    def dense(self, dtype: torch.dtype) -> torch.Tensor:
        """The values in a dtype."""
        return self.values.to(dtype)


@dataclass(frozen=True, slots=True)
class ScaledTensor:
    """Values to be multiplied with a scale, float32: one number, or [rows, 1]. fp8 without a scale has the scale 1."""

    values: torch.Tensor
    scale: torch.Tensor

    def dense(self, dtype: torch.dtype) -> torch.Tensor:
        """The product, calculated in float32 and rounded once."""
        return (self.values.to(torch.float32) * self.scale).to(dtype)


@dataclass(frozen=True, slots=True)
class BlockTensor:
    """GGUF's quantized blocks: bytes of a type such as `Q4_K`, and the shape of the values.

    The bytes are [rows, bytes of a row], or [blocks, bytes of a block] where a row is no whole number of blocks.
    """

    blocks: torch.Tensor
    kind: str
    shape: tuple[int, ...]

    def dense(self, dtype: torch.dtype) -> torch.Tensor:
        """The values, calculated in float32 on the device of the blocks and rounded once.

        Raises `ValueError` without the package gguf.
        """
        return dequantize_blocks(self.blocks, self.kind).to(dtype).reshape(self.shape)


StoredTensor = PlainTensor | ScaledTensor | BlockTensor


def read_stored(entry: AnyEntry, device: torch.device) -> StoredTensor:
    """Read a weight and its scale to a device. Raises `FormatError` and `OSError`."""
    if isinstance(entry, JoinedEntry):
        parts = [read_stored(part, device).dense(torch.float32) for part in entry.parts]
        return PlainTensor(torch.stack(parts, entry.axis) if entry.stacked else torch.cat(parts, entry.axis))
    tensor = entry.tensor
    if tensor.kind in _GGUF_BLOCKS:
        elements, size = _GGUF_BLOCKS[tensor.kind]
        by_row = tensor.shape[-1] % elements == 0
        blocks = _read_bytes(tensor).view(-1, tensor.shape[-1] // elements * size if by_row else size)
        return BlockTensor(blocks.to(device), tensor.kind, tensor.shape)
    values = _read_values(tensor).to(device)
    if entry.scale is not None:
        scale = _read_values(entry.scale).to(device, torch.float32)
        return ScaledTensor(values, scale.reshape(()) if scale.numel() == 1 else scale.reshape(-1, 1))
    if values.dtype in _FP8:
        return ScaledTensor(values, torch.ones((), dtype=torch.float32, device=device))
    return PlainTensor(values)


def _read_values(entry: TensorEntry) -> torch.Tensor:
    if (dtype := _DTYPES.get(entry.kind)) is None:
        raise FormatError(f"'{entry.path.name}' has tensors of the type {entry.kind}, which cannot be read")
    return _read_bytes(entry).view(dtype).reshape(entry.shape)


def _read_bytes(entry: TensorEntry) -> torch.Tensor:
    data = torch.empty(entry.size, dtype=torch.uint8)
    with entry.path.open("rb", buffering=0) as file:
        file.seek(entry.offset)
        view, read = memoryview(cast("Any", data.numpy())), 0
        while read < entry.size and (count := file.readinto(view[read:])):
            read += count
    if read < entry.size:
        raise FormatError(f"'{entry.path.name}' ended while it was read; it has changed since")
    return data
