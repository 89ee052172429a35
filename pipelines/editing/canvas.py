"""The canvas of an image in pixels: seed image, mask, margin and outpainting.

A canvas is made once for a request. The model renders the part of it that may change, at its own size. The
canvas then pastes the result back. Pixels that may not change are those of the seed image. Knows pictures; knows no
latents.
"""

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipelines.editing.pixels import mix_pixels, resize_mask, resize_picture
from pipelines.errors import part_at_fault
from pipelines.pictures.reader import PictureReader
from pipelines.request import Outpaint, RenderRequest

Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels
RelativeBox = tuple[float, float, float, float]  # the same as shares of width and height
WHOLE: RelativeBox = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Canvas:
    """The picture before rendering, at the requested size.

    `mask` is [H, W] in 0…1, 1 where the picture changes, or None where all of it may change. `box` is the part
    that is rendered. It holds every pixel whose mask is not 0.
    """

    picture: Image.Image
    mask: np.ndarray | None
    box: Box

    @property
    def mask_empty(self) -> bool:
        """Whether the mask allows no pixel to change."""
        return self.mask is not None and not self.mask.any()

    @property
    def relative_box(self) -> RelativeBox:
        """The box as shares of the sides of the picture."""
        left, top, right, bottom = self.box
        width, height = self.picture.size
        return left / width, top / height, right / width, bottom / height

    def crop(self, size: tuple[int, int]) -> Image.Image:
        """Return the rendered part, scaled to a size in pixels."""
        return resize_picture(self.picture.crop(self.box), size)

    def scale_mask(self, size: tuple[int, int]) -> np.ndarray | None:
        """Return the mask of the rendered part, scaled to a size in pixels."""
        if self.mask is None:
            return None
        left, top, right, bottom = self.box
        return resize_mask(self.mask[top:bottom, left:right], size)

    def downsample_mask(self, rows: int, columns: int) -> np.ndarray | None:
        """Return the mask of the part on a grid [rows, columns]. Each cell has the maximum of its pixels."""
        if self.mask is None:
            return None
        left, top, right, bottom = self.box
        part = self.mask[top:bottom, left:right]
        for axis, cells in ((0, rows), (1, columns)):
            edges = np.linspace(0, part.shape[axis], cells, endpoint=False).astype(int)
            # Where the grid is finer than the pixels, cells share them: reduceat takes the pixel at the edge.
            part = np.maximum.reduceat(part, edges, axis=axis)
        return part

    def paste_back(self, rendered: Image.Image) -> Image.Image:
        """Return the whole picture with the rendered part pasted in through the mask."""
        left, top, right, bottom = self.box
        part = rendered.resize((right - left, bottom - top), Image.Resampling.LANCZOS)
        if self.mask is None:
            return part
        before, after = np.asarray(self.picture.crop(self.box)), np.asarray(part)
        whole = self.picture.copy()
        whole.paste(Image.fromarray(mix_pixels(before, after, self.mask[top:bottom, left:right])), (left, top))
        return whole


def make_canvas(request: RenderRequest, reader: PictureReader) -> Canvas | None:
    """Make the canvas of a request, or return None if it has no seed image. Raises `PictureError`."""
    if request.seed_image is None:
        return None
    size = (request.width, request.height)
    with part_at_fault("mask"):
        mask = None if request.mask is None else reader.mask(request.mask, "mask")
    with part_at_fault("seed_image"):
        seed = reader.image(request.seed_image, "seed image")
    if request.outpaint is None:
        picture = resize_picture(seed, size)
        mask = None if mask is None else resize_mask(mask, size)
    else:
        picture = _extend_picture(seed, request.outpaint)
        mask = _outpaint_mask(None if mask is None else resize_mask(mask, seed.size), seed.size, request.outpaint)
    box = (0, 0, *size)
    if mask is not None and request.mask_margin is not None and mask.any():
        box = _box_around(mask, request.mask_margin)
    return Canvas(picture, mask, box)


def _extend_picture(seed: Image.Image, sides: Outpaint) -> Image.Image:
    """Extend the seed image by its mirror image, so that the new sides start from matching colours."""
    border = ((sides.top, sides.bottom), (sides.left, sides.right), (0, 0))
    return Image.fromarray(np.pad(np.asarray(seed), border, mode="symmetric"))


def _outpaint_mask(mask: np.ndarray | None, seed: tuple[int, int], sides: Outpaint) -> np.ndarray:
    """White outside the seed image, with a rise over `blur` pixels from its edge. Inside, the given mask."""
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


def _box_around(mask: np.ndarray, margin: int) -> Box:
    """The bounding box of the mask with a margin, widened to the aspect of the picture so that nothing is stretched."""
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    spans = []
    for first, last, length in ((columns[0], columns[-1], width), (rows[0], rows[-1], height)):
        spans.append((max(0, int(first) - margin), min(length, int(last) + 1 + margin)))
    share = max((end - start) / length for (start, end), length in zip(spans, (width, height), strict=True))
    (left, right), (top, bottom) = (
        _widen(span, math.ceil(share * length), length) for span, length in zip(spans, (width, height), strict=True)
    )
    return left, top, right, bottom


def _widen(span: tuple[int, int], length: int, limit: int) -> tuple[int, int]:
    """A span of `length` around the given one, moved to lie within 0…limit."""
    length = min(length, limit)
    start = min(max(0, (span[0] + span[1] - length) // 2), limit - length)
    return start, start + length
