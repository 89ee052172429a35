"""The sizes that images and references are rendered and encoded at. Plain numbers; imports no torch."""

import math

from pipelines.catalog.catalog import ModelEntry
from pipelines.limits import MAX_SIDE, MIN_SIDE, SIDE_MULTIPLE

REFERENCE_MULTIPLE = 32  # pixels, of both sides of a scaled reference (diffusers: calculate_dimensions)
# A mask made for a scaled copy of the seed image has its aspect up to rounding.
ASPECT_TOLERANCE = 0.02


def scaled_size(width: int, height: int, area: int, multiple: int = REFERENCE_MULTIPLE) -> tuple[int, int]:
    """The size with about `area` pixels and the same aspect. Both sides are multiples of `multiple`, and not zero."""
    ratio = width / height
    wide = math.sqrt(area * ratio)
    sides = (round(side / multiple) * multiple for side in (wide, wide / ratio))
    new_width, new_height = (max(multiple, side) for side in sides)
    return new_width, new_height


def fitted_size(width: int, height: int, area: int, min_side: int = REFERENCE_MULTIPLE) -> tuple[int, int]:
    """As `scaled_size`, with no side longer than `MAX_SIDE` or shorter than `min_side`.

    The sides of a picture beyond about 4:1 shrink together until the longer one fits.
    """
    size = scaled_size(width, height, area)
    if max(size) > MAX_SIDE:
        size = scaled_size(width, height, round(MAX_SIDE**2 * min(width, height) / max(width, height)))
    new_width, new_height = (min(MAX_SIDE, max(min_side, side)) for side in size)
    return new_width, new_height


def reference_size(width: int, height: int, entry: ModelEntry) -> tuple[int, int]:
    """The size that the VAE sees a reference of width × height pixels at."""
    return fitted_size(width, height, entry.reference_area)


def edit_size(width: int, height: int, entry: ModelEntry) -> tuple[int, int]:
    """The size of an edit that names none, from its last reference's. It is on the grid of that reference."""
    return fitted_size(width, height, entry.output_area, MIN_SIDE)


def keeps_aspect(width: int, height: int, reference: tuple[int, int]) -> bool:
    """Whether a size has its reference's aspect, within one multiple of the shorter side."""
    longer, shorter = max(width, height), min(width, height)
    return abs(longer * min(reference) / max(reference) - shorter) <= REFERENCE_MULTIPLE


def native_size(
    width: int, height: int, entry: ModelEntry, reference: tuple[int, int] | None = None
) -> tuple[int, int]:
    """The size that a model renders an image of width × height pixels at. Most models have no native area: the same.

    An edit that has its last `reference`'s shape is rendered on that one's grid, so that unchanged parts stay in place.
    """
    if entry.native_area is None:
        return width, height
    if reference is not None and (width, height) == edit_size(*reference, entry):
        return fitted_size(*reference, entry.native_area)
    multiple = SIDE_MULTIPLE if entry.mode == "text_to_image" else REFERENCE_MULTIPLE
    return scaled_size(width, height, entry.native_area, multiple)


def nearest_side(pixels: float) -> int:
    """The legal side next to a length."""
    return min(MAX_SIDE, max(MIN_SIDE, SIDE_MULTIPLE * round(pixels / SIDE_MULTIPLE)))


def size_like(width: int, height: int, area: int) -> tuple[int, int]:
    """A size of about `area` pixels with the aspect of width × height, each side a legal one."""
    scale = math.sqrt(area / (width * height))
    return nearest_side(width * scale), nearest_side(height * scale)


def same_aspect(width: int, height: int, other_width: int, other_height: int) -> bool:
    """Whether two sizes have the same aspect, up to rounding."""
    return abs(width * other_height / (height * other_width) - 1) <= ASPECT_TOLERANCE
