"""What a picture starts from, and where it may change: seed image, mask, margin and outpainting, in pixels.

A canvas is laid out once for a request; the renderer draws the part of it that may change, at whatever size the model
draws, and the canvas puts the result back. Pixels that may not change are those of the seed image, untouched. Knows
pictures; knows no latents.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipelines.errors import part_at_fault
from pipelines.images import open_mask, open_reference
from pipelines.request import Outpaint, RenderRequest

Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels
Part = tuple[float, float, float, float]  # the same in shares of width and height
WHOLE: Part = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Canvas:
    """The picture before it is drawn on, at the size asked for.

    `mask` is [H, W] in 0…1, 1 where the picture is drawn anew; None where all of it may change. `box` is the part that
    is drawn; it holds every pixel whose mask is not 0.
    """

    picture: Image.Image
    mask: np.ndarray | None
    box: Box

    @property
    def untouched(self) -> bool:
        """Whether the mask allows no pixel to change."""
        return self.mask is not None and not self.mask.any()

    @property
    def part(self) -> Part:
        """The box in shares of the picture's sides."""
        left, top, right, bottom = self.box
        width, height = self.picture.size
        return left / width, top / height, right / width, bottom / height

    def start(self, size: tuple[int, int]) -> Image.Image:
        """The part that is drawn, at the size it is drawn at."""
        part = self.picture.crop(self.box)
        return part if part.size == size else part.resize(size, Image.Resampling.LANCZOS)

    def mask_on(self, rows: int, columns: int) -> np.ndarray | None:
        """The part's mask on a coarser grid [rows, columns]: each cell may change as much as its freest pixel."""
        if self.mask is None:
            return None
        left, top, right, bottom = self.box
        part = self.mask[top:bottom, left:right]
        for axis, cells in ((0, rows), (1, columns)):
            edges = np.linspace(0, part.shape[axis], cells, endpoint=False).astype(int)
            # Where the grid is finer than the pixels, cells share them: reduceat takes the pixel at the edge.
            part = np.maximum.reduceat(part, edges, axis=axis)
        return part

    def restore(self, drawn: Image.Image) -> Image.Image:
        """The whole picture, with the drawn part in its place as far as the mask allows."""
        left, top, right, bottom = self.box
        part = drawn.resize((right - left, bottom - top), Image.Resampling.LANCZOS)
        if self.mask is None:
            return part
        before = np.asarray(self.picture.crop(self.box), dtype=np.float32)
        after = np.asarray(part, dtype=np.float32)
        mixed = before + self.mask[top:bottom, left:right, None] * (after - before)
        whole = self.picture.copy()
        whole.paste(Image.fromarray(mixed.round().astype(np.uint8)), (left, top))
        return whole


def lay_out(request: RenderRequest) -> Canvas | None:
    """The canvas of a request; None when it starts from noise alone. Raises `PictureError`."""
    if request.seed_image is None:
        return None
    size = (request.width, request.height)
    with part_at_fault("mask"):
        mask = None if request.mask is None else open_mask(request.mask)
    with part_at_fault("seed_image"):
        seed = open_reference(request.seed_image)
    if request.outpaint is None:
        picture = _scaled(seed, size)
        mask = None if mask is None else _resized(mask, size)
    else:
        picture = _extended(seed, request.outpaint)
        mask = _outside(None if mask is None else _resized(mask, seed.size), seed.size, request.outpaint)
    box = (0, 0, *size)
    if mask is not None and request.mask_margin is not None and mask.any():
        box = _around(mask, request.mask_margin)
    return Canvas(picture, mask, box)


def _scaled(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)


def _resized(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Linearly, so that a mask gets no overshoot; black stays black and white stays white."""
    if (mask.shape[1], mask.shape[0]) == size:
        return mask
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.BILINEAR)).clip(0, 1)


def _extended(seed: Image.Image, sides: Outpaint) -> Image.Image:
    """The seed image with its mirror image on each side: what is drawn there starts from colours that go on."""
    border = ((sides.top, sides.bottom), (sides.left, sides.right), (0, 0))
    return Image.fromarray(np.pad(np.asarray(seed), border, mode="symmetric"))


def _outside(mask: np.ndarray | None, seed: tuple[int, int], sides: Outpaint) -> np.ndarray:
    """White outside the seed image, rising over `blur` pixels from its edge; the given mask inside."""
    width, height = seed
    x = np.arange(-sides.left, width + sides.right)
    y = np.arange(-sides.top, height + sides.bottom)
    beyond_x = np.maximum(np.maximum(-x, x - (width - 1)), 0)
    beyond_y = np.maximum(np.maximum(-y, y - (height - 1)), 0)
    distance = np.maximum(beyond_y[:, None], beyond_x[None, :])
    whole = np.minimum(distance / (sides.blur + 1), 1.0).astype(np.float32)
    if mask is not None:
        whole[sides.top : sides.top + height, sides.left : sides.left + width] = mask
    return whole


def _around(mask: np.ndarray, margin: int) -> Box:
    """The mask's bounding box with a margin, widened to the picture's aspect so that nothing is stretched."""
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    spans = []
    for first, last, length in ((columns[0], columns[-1], width), (rows[0], rows[-1], height)):
        spans.append((max(0, int(first) - margin), min(length, int(last) + 1 + margin)))
    share = max((end - start) / length for (start, end), length in zip(spans, (width, height), strict=True))
    (left, right), (top, bottom) = (
        _widened(span, math.ceil(share * length), length) for span, length in zip(spans, (width, height), strict=True)
    )
    return left, top, right, bottom


def _widened(span: tuple[int, int], length: int, limit: int) -> tuple[int, int]:
    """A span of `length` around the given one, moved so that it lies within 0…limit."""
    length = min(length, limit)
    start = min(max(0, (span[0] + span[1] - length) // 2), limit - length)
    return start, start + length
