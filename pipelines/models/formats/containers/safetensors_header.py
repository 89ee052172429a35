"""Reads the header of a safetensors file: a length, then JSON. Reads no tensor, and imports no torch."""

import json
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pipelines.models.formats.containers.headers import FileHeader, FormatError, TensorEntry, check_length, not_weights

# The longest header that the safetensors library accepts.
_LONGEST = 100_000_000
# The bytes of an element of each type that is read. Files may hold tensors of other types beside them.
ITEM_BYTES = {
    **dict.fromkeys(("F64", "I64", "U64"), 8),
    **dict.fromkeys(("F32", "I32", "U32"), 4),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 2),
    **dict.fromkeys(("F8_E4M3", "F8_E5M2", "I8", "U8", "BOOL"), 1),
}


def read_safetensors_header(path: Path) -> FileHeader:
    """Read a header. Raises `FormatError` when the file is of another kind, damaged or truncated, else `OSError`."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = int.from_bytes(start, "little")
        if len(start) < 8 or length > _LONGEST:
            raise not_weights(path, start + file.read(64), "safetensors")
        check_length(path, size, 8 + length)
        text = file.read(length)
    try:
        document: dict[str, Any] = json.loads(text)
        metadata = document.pop("__metadata__", {})
        tensors = {name: _entry(path, 8 + length, each) for name, each in document.items()}
        metadata = {str(key): str(value) for key, value in metadata.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise FormatError(f"'{path.name}' is a damaged safetensors file: its header cannot be read") from error
    check_length(path, size, max((entry.offset + entry.size for entry in tensors.values()), default=0))
    return FileHeader(path, MappingProxyType(tensors), MappingProxyType(metadata))


def _entry(path: Path, data: int, description: dict[str, Any]) -> TensorEntry:
    kind, shape = str(description["dtype"]), tuple(int(side) for side in description["shape"])
    start, end = (int(offset) for offset in description["data_offsets"])
    item = ITEM_BYTES.get(kind)
    if not 0 <= start <= end or min(shape, default=0) < 0 or (item and prod(shape) * item != end - start):
        raise ValueError("a tensor's bytes do not fit its shape")
    return TensorEntry(path, kind, shape, data + start, end - start)
