"""Encodings that are kept by what they were made from, within a bound of bytes, the least recently used given up first.

The same prompt with twenty seeds is encoded once, and so is a photograph that is edited ten times. Knows tensors; knows
no encoder.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

import torch

V = TypeVar("V")

# One prompt of the 20B model is 3584 × 2 bytes a token; one 1 MP reference 0.5 MB of latents.
DEFAULT_BYTES = 512 * 2**20


class Encodings:
    """A cache of encodings on one device. What it returns is shared, so it must not be changed."""

    def __init__(self, limit: int = DEFAULT_BYTES) -> None:
        self._limit = limit
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self.bytes = 0

    def get(self, key: Hashable, make: Callable[[], V], tensors: Callable[[V], tuple[torch.Tensor, ...]]) -> V:
        """The encoding of a key, made if it is not there; `tensors` are those of its parts that take memory."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return cast("V", self._kept[key][0])
        value = make()
        size = sum(tensor.nbytes for tensor in tensors(value))
        self._kept[key] = (value, size)
        self.bytes += size
        while self.bytes > self._limit:
            _, (_, freed) = self._kept.popitem(last=False)
            self.bytes -= freed
        return value
