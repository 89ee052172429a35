"""Reads the header of a GGUF file: metadata, then the name, shape, type and place of each tensor.

The library's reader maps the file into memory and believes each length in it. This one reads the header alone, within
bounds, so that a damaged file cannot take the memory of the process. Imports no torch.
"""

import struct
from collections.abc import Callable
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from pipelines.models.formats.containers.headers import FileHeader, FormatError, TensorEntry, check_length, not_weights

MAGIC = b"GGUF"
_VERSIONS = (2, 3)
# Above what any file of a diffusion model or a text encoder has. The longest arrays are vocabularies.
_MOST_TENSORS, _MOST_FIELDS, _MOST_ITEMS, _MOST_BYTES = 100_000, 10_000, 10_000_000, 10_000_000
_MOST_DIMENSIONS = 4
_STRING, _ARRAY = 8, 9
# struct codes of the scalar types, by their number in the file.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
# Name, elements of a block and bytes of a block, by the type's number in the file.
KINDS: dict[int, tuple[str, int, int]] = {
    0: ("F32", 1, 4),
    1: ("F16", 1, 2),
    2: ("Q4_0", 32, 18),
    3: ("Q4_1", 32, 20),
    6: ("Q5_0", 32, 22),
    7: ("Q5_1", 32, 24),
    8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84),
    11: ("Q3_K", 256, 110),
    12: ("Q4_K", 256, 144),
    13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210),
    30: ("BF16", 1, 2),
}
# Types that are named in the refusal. https://github.com/ggml-org/ggml/blob/master/docs/gguf.md has the numbers.
_REFUSED = {
    **dict.fromkeys((16, 17, 18, 19, 20, 21, 22, 23, 29), "IQ"),
    **dict.fromkeys((34, 35), "TQ"),
    39: "MXFP4",
    40: "NVFP4",
    41: "Q1",
}


def read_gguf_header(path: Path) -> FileHeader:
    """Read a header. Raises `FormatError` when the file is of another kind, damaged or truncated, else `OSError`."""
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(4)
        if start != MAGIC:
            raise not_weights(path, start + file.read(64), "GGUF")
        try:
            return _read(path, file, size)
        except FormatError:
            raise
        except (struct.error, ValueError) as error:
            raise FormatError(f"'{path.name}' is damaged or truncated; copy or download it again") from error


def _read(path: Path, file: BinaryIO, size: int) -> FileHeader:
    version, tensor_count, field_count = _unpack(file, "<IQQ")
    if version not in _VERSIONS:
        raise FormatError(f"'{path.name}' is a GGUF file of version {version}; versions 2 and 3 can be read")
    if tensor_count > _MOST_TENSORS or field_count > _MOST_FIELDS:
        raise struct.error("impossible counts")
    metadata: dict[str, str] = {}
    for _ in range(field_count):
        name = _string(file)
        (kind,) = _unpack(file, "<I")
        metadata[name] = _value(file, kind)
    described = [_describe(file) for _ in range(tensor_count)]
    alignment = int(metadata.get("general.alignment", "32"))
    if alignment < 1:
        raise struct.error("impossible alignment")
    data = -(-file.tell() // alignment) * alignment
    tensors = {name: _entry(path, name, shape, kind, data + offset) for name, shape, kind, offset in described}
    check_length(path, size, max((entry.offset + entry.size for entry in tensors.values()), default=0))
    return FileHeader(path, MappingProxyType(_in_their_shapes(tensors, metadata)), MappingProxyType(metadata))


def _describe(file: BinaryIO) -> tuple[str, tuple[int, ...], int, int]:
    """The name, shape in torch's order, type and offset of the next tensor."""
    name = _string(file)
    (dimensions,) = _unpack(file, "<I")
    if dimensions > _MOST_DIMENSIONS:
        raise struct.error("impossible dimensions")
    shape = _unpack(file, f"<{dimensions}Q")
    kind, offset = _unpack(file, "<IQ")
    return name, tuple(reversed(shape)), kind, offset


def _entry(path: Path, name: str, shape: tuple[int, ...], number: int, offset: int) -> TensorEntry:
    if number not in KINDS:
        family = _REFUSED.get(number, f"of number {number}")
        raise FormatError(
            f"'{path.name}' has tensors of the type {family}, such as {name}, which cannot be read; "
            "use a file of Q2_K to Q8_0 or BF16"
        )
    kind, elements, size = KINDS[number]
    if shape and shape[-1] % elements:
        raise struct.error("a row is no whole number of blocks")
    return TensorEntry(path, kind, shape, offset, prod(shape) // elements * size)


def _in_their_shapes(tensors: dict[str, TensorEntry], metadata: dict[str, str]) -> dict[str, TensorEntry]:
    """The tensors in the shapes that ComfyUI-GGUF's converter noted before it laid them out in whole blocks."""
    shaped = dict(tensors)
    for name, entry in tensors.items():
        if (noted := metadata.get(f"comfy.gguf.orig_shape.{name}")) is None:
            continue
        shape = tuple(int(side) for side in noted.split(","))
        if prod(shape) != entry.elements:
            raise struct.error("the noted shape has another size")
        shaped[name] = TensorEntry(entry.path, entry.kind, shape, entry.offset, entry.size)
    return shaped


def _value(file: BinaryIO, kind: int) -> str:
    """A metadata value as text; an array as its items between commas."""
    if kind != _ARRAY:
        return _item(file, kind)()
    item, count = _unpack(file, "<IQ")
    if count > _MOST_ITEMS or item == _ARRAY:
        raise struct.error("impossible array")
    read = _item(file, item)
    return ",".join([read() for _ in range(count)])


def _item(file: BinaryIO, kind: int) -> Callable[[], str]:
    if kind == _STRING:
        return lambda: _string(file)
    if kind not in _SCALARS:
        raise struct.error("unknown type")
    code = f"<{_SCALARS[kind]}"
    return lambda: str(_unpack(file, code)[0])


def _string(file: BinaryIO) -> str:
    (length,) = _unpack(file, "<Q")
    if length > _MOST_BYTES:
        raise struct.error("impossible string")
    text = file.read(length)
    if len(text) < length:
        raise struct.error("the file ends")
    return text.decode("utf-8")


def _unpack(file: BinaryIO, code: str) -> tuple[int, ...]:
    return struct.unpack(code, file.read(struct.calcsize(code)))
