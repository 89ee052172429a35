"""The words in a picture, read by an OCR network whose weights are in its wheel (rapidocr).

Knows pixels; knows no prompt.
"""

import importlib.util
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

_KEPT = 16  # pictures: a twin comes back with each setting


class Reader:
    """Reads pictures; takes a second or two to load, and about one for a picture that it has not just seen."""

    def __init__(self) -> None:
        from rapidocr import RapidOCR

        self._engine: Any = RapidOCR(params={"Global.log_level": "critical"})
        self._read = lru_cache(maxsize=_KEPT)(self._read_bytes)

    def read(self, picture: Image.Image) -> str:
        """Its lines from top to bottom with single spaces between; empty where nothing can be read."""
        return self._read(picture.convert("RGB").tobytes(), picture.size)

    def _read_bytes(self, pixels: bytes, size: tuple[int, int]) -> str:
        width, height = size
        rows = np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
        found = self._engine(rows[:, :, ::-1])  # it takes blue first
        return " ".join(found.txts or ())


def can_read() -> bool:
    """Whether the OCR library is installed."""
    return importlib.util.find_spec("rapidocr") is not None


def spelt(text: str) -> str:
    """A text without what spelling it right does not depend on: spaces, width and case."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def holds(text: str, words: Sequence[str]) -> bool:
    """Whether a text has each of the words in it, letter by letter."""
    return all(spelt(word) in spelt(text) for word in words)
