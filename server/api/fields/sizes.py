"""Sizes as the vendors' clients write them: `1024x1536`, `1024*1536`, `16:9`. Pure."""

import re

from pipelines.limits import MAX_SIDE, MIN_SIDE, SIDE_MULTIPLE
from pipelines.sizes import size_like

_SIDES = re.compile(r"\s*([0-9]{1,5})\s*[x×*]\s*([0-9]{1,5})\s*", re.IGNORECASE)
_RATIO = re.compile(r"\s*([0-9]{1,5})\s*:\s*([0-9]{1,5})\s*")


def parse_size(text: str, low: int = MIN_SIDE, high: int = MAX_SIDE) -> tuple[int, int]:
    """Width and height, each down to a multiple of 16. The sides may be `low` to `high`. Raises `ValueError`."""
    found = _SIDES.fullmatch(text)
    if found is None:
        raise ValueError("is no size such as 1024x1024")
    width, height = int(found[1]), int(found[2])
    if not (low <= width <= high and low <= height <= high):
        raise ValueError(f"must have sides of {low} to {high} pixels")
    return width - width % SIDE_MULTIPLE, height - height % SIDE_MULTIPLE


def parse_ratio(text: str, area: int) -> tuple[int, int]:
    """Width and height of about `area` pixels with the ratio that a text such as `16:9` names. Raises `ValueError`."""
    found = _RATIO.fullmatch(text)
    if found is None or not (int(found[1]) and int(found[2])):
        raise ValueError("is no ratio such as 16:9")
    return size_like(int(found[1]), int(found[2]), area)
