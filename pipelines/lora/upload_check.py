"""Checks a LoRA file before it is installed: names, metadata, shapes and numbers.

What would fail in each task that uses the file is found here. Reads numbers in pieces, and imports no torch: the API
process runs it.
"""

import mmap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.errors import LoraError
from pipelines.lora.alphas import read_alphas
from pipelines.lora.keys import LoraNames, check_file, is_norm
from pipelines.lora.model_shapes import TransformerShapes, check_fits_one
from pipelines.models.formats.containers.headers import FormatError, TensorEntry
from pipelines.models.formats.containers.safetensors_header import read_safetensors_header

# The numbers of a type that are read at once: 16 MiB of the widest.
_PIECE = 2**21
# The type in NumPy of each type of a file, and a check for numbers that are not finite. NumPy has no bfloat16 and no
# 8-bit floats. Such a number has an exponent of ones; in E4M3 only one pattern is not a number.
_BAD: Mapping[str, tuple[str, Callable[[NDArray[Any]], NDArray[np.bool_]]]] = {
    **{
        kind: (f"<f{size}", lambda numbers: ~np.isfinite(numbers))
        for kind, size in (("F64", 8), ("F32", 4), ("F16", 2))
    },
    "BF16": ("<u2", lambda numbers: (numbers & 0x7F80) == 0x7F80),
    "F8_E5M2": ("u1", lambda numbers: (numbers & 0x7C) == 0x7C),
    "F8_E4M3": ("u1", lambda numbers: (numbers & 0x7F) == 0x7F),
}
_INTEGERS = frozenset({"I64", "U64", "I32", "U32", "I16", "U16", "I8", "U8"})
_ALPHA_SHAPES = ((), (1,))

Entries = Mapping[str, TensorEntry]


def check_upload(path: Path, models: Sequence[TransformerShapes] = ()) -> LoraNames:
    """Check a whole file, and return its names. Blocks for about a second for each gigabyte.

    Raises `LoraError`, also for a file that fits none of the models, if any are given.
    """
    names = check_file(path)
    try:
        header = read_safetensors_header(path)
    except FormatError as error:
        raise LoraError(f"the file is no safetensors file ({error})") from error
    read_alphas(header.metadata)
    modules = {
        module: {part: header.tensors[name] for part, name in parts.items()} for module, parts in names.modules.items()
    }
    for module, entries in modules.items():
        _check_shapes(module, entries)
    if models:
        check_fits_one(
            {name: {part: entry.shape for part, entry in parts.items()} for name, parts in modules.items()}, models
        )
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for module, entries in modules.items():
            for part, entry in entries.items():
                if not _finite(data, entry):
                    raise LoraError(f"its weights of {module} are not all finite numbers, in '{part}'")
    return names


def _check_shapes(module: str, entries: Entries) -> None:
    """Raise `LoraError` for tensors that fit no module of any size, or each other."""
    shapes = {part: entry.shape for part, entry in entries.items()}
    for part, entry in entries.items():
        if entry.kind not in _BAD and entry.kind not in _INTEGERS:
            raise LoraError(f"its weights of {module} have the type {entry.kind}, which is not read")
        if part == "alpha" and entry.shape not in _ALPHA_SHAPES:
            raise LoraError(f"its alpha of {module} has the shape {list(entry.shape)}, and must be one number")
    pairs = [("up", "down"), *((f"{name}_a", f"{name}_b") for name in ("hada_w1", "hada_w2", "w1", "w2"))]
    fit = all(
        len(shapes[left]) == len(shapes[right]) == 2 and shapes[left][1] == shapes[right][0] > 0
        for left, right in pairs
        if left in shapes and right in shapes
    )
    dimensions = {"diff": 1 if is_norm(module) else 2, "diff_b": 1, "up_b": 1, "oft_vectors": 2, "oft_blocks": 3}
    fit &= all(len(shapes[part]) == number for part, number in dimensions.items() if part in shapes)
    if not fit:
        told = ", ".join(f"{part} {list(shape)}" for part, shape in shapes.items())
        raise LoraError(f"its weights of {module} do not fit each other: {told}")


def _finite(data: mmap.mmap, entry: TensorEntry) -> bool:
    """Whether all numbers of a tensor are finite."""
    if entry.kind in _INTEGERS:
        return True
    kind, bad = _BAD[entry.kind]
    count = entry.size // np.dtype(kind).itemsize
    for start in range(0, count, _PIECE):
        offset = entry.offset + start * np.dtype(kind).itemsize
        numbers = np.frombuffer(data, kind, min(_PIECE, count - start), offset)
        found = bad(numbers).any()
        del numbers  # a view keeps the map open
        if found:
            return False
    return True
