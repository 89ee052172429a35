"""What the header of a weights file says: the name, type, shape and place of each tensor.

Both containers, safetensors and GGUF, are read into these types. Imports no torch, so that the API process can check a
models file.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path


class FormatError(ValueError):
    """A weights file cannot be used. The message is one sentence that names the file."""


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """One tensor of a file. `kind` is the safetensors name of its type, such as `BF16`, or GGUF's, such as `Q4_K`.

    `shape` is in torch's order, whatever the container's. `offset` counts in bytes from the start of the file.
    """

    path: Path
    kind: str
    shape: tuple[int, ...]
    offset: int
    size: int

    @property
    def elements(self) -> int:
        """The number of elements."""
        return prod(self.shape)


@dataclass(frozen=True, slots=True)
class FileHeader:
    """The tensors of one file by name, and its metadata as text."""

    path: Path
    tensors: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]


def check_length(path: Path, size: int, expected: int) -> None:
    """Raise `FormatError` for a file that ends before its last tensor."""
    if size < expected:
        raise FormatError(
            f"'{path.name}' is truncated: it has {size:,} of {expected:,} bytes; copy or download it again"
        )


def not_weights(path: Path, start: bytes, container: str) -> FormatError:
    """The error for a file that does not begin as its container does. `start` is its first bytes."""
    text = start.lstrip().lower()
    if text.startswith(b"version https://git-lfs"):
        return FormatError(f"'{path.name}' is a pointer of Git LFS, not the weights; run `git lfs pull` there")
    if text.startswith((b"<!doctype", b"<html")):
        return FormatError(f"'{path.name}' is a page of HTML, not the weights; download the file itself")
    return FormatError(f"'{path.name}' is no {container} file, or a damaged one; download it again")
