"""Parses and checks options: sizes in pixels, numbers, and lists of numbers.

The commands and the Python API share it, so that one option means the same everywhere. Imports no torch.
"""

import operator
import re
from collections.abc import Callable
from typing import SupportsFloat, SupportsIndex, TypeVar

from pipelines.catalog.catalog import ModelEntry
from pipelines.limits import MAX_SIDE, MIN_SIDE, PROPOSED_SIDE, SIDE_MULTIPLE

# Pixels of a side when no size is given. The embedded checkpoint renders 128² and scales the image.
EMBEDDED_DEFAULT_SIDE = 256

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
    return side(option, int(match[1])), side(option, int(match[2] or match[1]))


def parse_integers(option: str, text: str, minimum: int, maximum: int) -> tuple[int, ...]:
    """Different whole numbers from `minimum` to `maximum`, from a text such as `20,28`. Raises `OptionError`."""
    return _parse_list(option, text, int, "whole numbers, such as 20,28", minimum, maximum)


def parse_numbers(option: str, text: str, minimum: float, maximum: float) -> tuple[float, ...]:
    """Different numbers from `minimum` to `maximum`, from a text such as `0.2,0.3`. Raises `OptionError`."""
    return _parse_list(option, text, float, "numbers, such as 0.2,0.3", minimum, maximum)


def side(option: str, value: SupportsIndex) -> int:
    """A side in pixels. Raises `OptionError` when it is out of range or no multiple of 16."""
    pixels = whole_number(option, value, MIN_SIDE, MAX_SIDE)
    if pixels % SIDE_MULTIPLE:
        raise OptionError(option, f"{pixels} is no multiple of {SIDE_MULTIPLE}")
    return pixels


def whole_number(option: str, value: SupportsIndex, minimum: int, maximum: int) -> int:
    """A whole number from `minimum` to `maximum`. Raises `OptionError`."""
    try:
        found = operator.index(value)
    except TypeError:
        raise OptionError(option, f"{value!r} is no whole number") from None
    return _in_range(option, found, minimum, maximum)


def number(option: str, value: SupportsFloat, minimum: float, maximum: float) -> float:
    """A number from `minimum` to `maximum`; NaN never is. Raises `OptionError`."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise OptionError(option, f"{value!r} is no number") from None
    return _in_range(option, found, minimum, maximum)


def default_side(entry: ModelEntry) -> int:
    """Pixels of a side of a model's images when no size is given."""
    return EMBEDDED_DEFAULT_SIDE if entry.embedded else PROPOSED_SIDE


def _parse_list(
    option: str, text: str, parse: Callable[[str], Number], form: str, minimum: float, maximum: float
) -> tuple[Number, ...]:
    try:
        values = [parse(word) for word in text.split(",")]
    except ValueError:
        raise OptionError(option, f"'{text}' is no list of {form}") from None
    return tuple(dict.fromkeys(_in_range(option, value, minimum, maximum) for value in values))


def _in_range(option: str, value: Number, minimum: float, maximum: float) -> Number:
    if not minimum <= value <= maximum:
        raise OptionError(option, f"{value} is not from {minimum} to {maximum}")
    return value
