"""Parses the texts of options: sizes in pixels, and lists of numbers.

Every command parses them here, so that one text means the same everywhere. Imports no torch.
"""

import re
from collections.abc import Callable
from typing import TypeVar

from pipelines.catalog.catalog import ModelEntry
from pipelines.limits import MAX_SIDE, MIN_SIDE, SIDE_MULTIPLE

# Pixels of a side when no size is given. The embedded checkpoint renders 128² and scales the image.
DEFAULT_SIDE, EMBEDDED_DEFAULT_SIDE = 1024, 256

Number = TypeVar("Number", int, float)


class OptionError(ValueError):
    """An option cannot be used; the message begins with its name."""

    def __init__(self, option: str, message: str) -> None:
        super().__init__(f"{option}: {message}")


def parse_size(option: str, text: str) -> tuple[int, int]:
    """Width and height from `1024` or `1328x800`. Raises `OptionError`."""
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text.strip().lower())
    if match is None:
        raise OptionError(option, f"'{text}' is no size in pixels, such as 1024 or 1328x800")
    width, height = int(match[1]), int(match[2] or match[1])
    check_side(option, width)
    check_side(option, height)
    return width, height


def parse_integers(option: str, text: str, minimum: int, maximum: int) -> tuple[int, ...]:
    """Different whole numbers from `minimum` to `maximum`, from a text such as `20,28`. Raises `OptionError`."""
    return _parse_list(option, text, int, "whole numbers, such as 20,28", minimum, maximum)


def parse_numbers(option: str, text: str, minimum: float, maximum: float) -> tuple[float, ...]:
    """Different numbers from `minimum` to `maximum`, from a text such as `0.2,0.3`. Raises `OptionError`."""
    return _parse_list(option, text, float, "numbers, such as 0.2,0.3", minimum, maximum)


def check_side(option: str, side: int) -> None:
    """Raise `OptionError` when a side in pixels is out of range or no multiple of 16."""
    check_range(option, side, MIN_SIDE, MAX_SIDE)
    if side % SIDE_MULTIPLE:
        raise OptionError(option, f"{side} is no multiple of {SIDE_MULTIPLE}")


def check_range(option: str, value: float, minimum: float, maximum: float) -> None:
    """Raise `OptionError` when a value is not from `minimum` to `maximum`; NaN never is."""
    if not minimum <= value <= maximum:
        raise OptionError(option, f"{value} is not from {minimum} to {maximum}")


def default_side(entry: ModelEntry) -> int:
    """Pixels of a side of a model's images when no size is given."""
    return EMBEDDED_DEFAULT_SIDE if entry.embedded else DEFAULT_SIDE


def _parse_list(
    option: str, text: str, number: Callable[[str], Number], form: str, minimum: float, maximum: float
) -> tuple[Number, ...]:
    try:
        values = [number(word) for word in text.split(",")]
    except ValueError:
        raise OptionError(option, f"'{text}' is no list of {form}") from None
    for value in values:
        check_range(option, value, minimum, maximum)
    return tuple(dict.fromkeys(values))
