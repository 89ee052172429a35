"""Opens input pictures as a viewer would show them, and masks as arrays.

Knows Pillow; knows no model.
"""

import struct

import numpy as np
from PIL import Image

from pipelines.errors import PictureError
from pipelines.request import Reference

# Each EXIF orientation, and the transpose that undoes it. Pillow's ImageOps.exif_transpose has the same table, but it
# fails on EXIF blocks that it cannot rewrite.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112
_GREYS_16_TO_8 = 65535 / 255


def open_reference(reference: Reference) -> Image.Image:
    """The picture upright, in RGB, with transparency on white. Raises `PictureError`."""
    return _opened(reference, page="white").convert("RGB")


def open_mask(reference: Reference) -> np.ndarray:
    """The picture's brightness as a mask [H, W] in 0…1, with transparency on black. Raises `PictureError`."""
    return np.asarray(_opened(reference, page="black").convert("L"), dtype=np.float32) / 255


def _opened(reference: Reference, page: str) -> Image.Image:
    try:
        with Image.open(reference.path) as image:
            turn = _TURNS.get(_orientation(image))
            upright = image.copy() if turn is None else image.transpose(turn)
    except FileNotFoundError as error:  # the messages name no file: a sender must not learn the server's paths
        raise PictureError("the picture is gone") from error
    except OSError as error:
        raise PictureError("the picture cannot be opened") from error
    if upright.mode == "I;16":  # convert() would clip 16-bit greys instead of scaling them
        return upright.convert("I").point(lambda value: value / _GREYS_16_TO_8)
    if not upright.has_transparency_data:
        return upright
    layer = upright.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, page), layer)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; a corrupt block counts as none."""
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except (SyntaxError, ValueError, TypeError, LookupError, OSError, struct.error):
        return 1
