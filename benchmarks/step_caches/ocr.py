"""Reads the words in an image with an OCR network whose weights are in its wheel (rapidocr).

Knows pixels; knows no prompt.
"""

import importlib.util
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

_CACHED_IMAGES = 16  # a baseline comes back with each variant


class Reader:
    """Reads images. Loading takes a second or two, a new image about one second."""

    def __init__(self) -> None:
        from rapidocr import RapidOCR

        self._engine: Any = RapidOCR(params={"Global.log_level": "critical"})
        self._read = lru_cache(maxsize=_CACHED_IMAGES)(self._read_bytes)

    def read(self, image: Image.Image) -> str:
        """The lines of an image from top to bottom, joined by single spaces; empty when nothing is legible."""
        return self._read(image.convert("RGB").tobytes(), image.size)

    def _read_bytes(self, pixels: bytes, size: tuple[int, int]) -> str:
        width, height = size
        rows = np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
        found = self._engine(rows[:, :, ::-1])  # it takes blue first
        return " ".join(found.txts or ())


def ocr_available() -> bool:
    """Whether the OCR library is installed."""
    return importlib.util.find_spec("rapidocr") is not None


def normalize_text(text: str) -> str:
    """A text without spaces, letter case and character width: spelling does not depend on them."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())


def contains_words(text: str, words: Sequence[str]) -> bool:
    """Whether a text contains each of the words, letter by letter."""
    return all(normalize_text(word) in normalize_text(text) for word in words)
