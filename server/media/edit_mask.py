"""Turns a mask whose transparent parts are edited into one whose white parts are. Blocks; knows no request."""

import io

from PIL import ImageChops

from pipelines.pictures.image_files import open_image
from server.errors import MediaError

# A colour that stands for transparency, or a palette with alpha, counts as an alpha channel.
_ALPHA_MODES = frozenset({"RGBA", "LA", "PA", "La", "RGBa"})


def edit_mask(data: bytes) -> bytes:
    """A grey PNG of an image that has been checked: white where that is transparent. Raises `MediaError`."""
    with open_image(data) as image:
        if image.mode not in _ALPHA_MODES and "transparency" not in image.info:
            raise MediaError("The mask has no alpha channel. Its transparent parts say where the image is edited.")
        alpha = image.convert("RGBA").getchannel("A")
    buffer = io.BytesIO()
    ImageChops.invert(alpha).save(buffer, "PNG")
    return buffer.getvalue()
