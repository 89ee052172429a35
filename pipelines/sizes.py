"""The sizes that images and references are rendered and encoded at. Plain numbers; imports no torch."""

import math

from pipelines.catalog.catalog import ModelEntry
from pipelines.limits import SIDE_MULTIPLE

REFERENCE_MULTIPLE = 32  # pixels, of both sides of a scaled reference (diffusers: calculate_dimensions)


def scaled_size(width: int, height: int, area: int, multiple: int = REFERENCE_MULTIPLE) -> tuple[int, int]:
    """The size with about `area` pixels and the same aspect. Both sides are multiples of `multiple`, and not zero."""
    ratio = width / height
    wide = math.sqrt(area * ratio)
    sides = (round(side / multiple) * multiple for side in (wide, wide / ratio))
    new_width, new_height = (max(multiple, side) for side in sides)
    return new_width, new_height


def native_size(width: int, height: int, entry: ModelEntry) -> tuple[int, int]:
    """The size that a model renders an image of width × height pixels at. Most models have no native area: the same.

    An edit is rendered on the grid of its reference, so that unchanged parts stay where they are.
    """
    if entry.native_area is None:
        return width, height
    multiple = SIDE_MULTIPLE if entry.mode == "text_to_image" else REFERENCE_MULTIPLE
    return scaled_size(width, height, entry.native_area, multiple)
