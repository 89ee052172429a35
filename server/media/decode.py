"""Is this a picture we can use? Format, size and integrity of encoded images.

Reads bytes from strangers: the header is checked before a pixel is decoded, and whatever the decoder trips over
becomes a `MediaError`. Keeps nothing.
"""

import io
import struct
import warnings
import zlib
from dataclasses import dataclass

from PIL import Image

from server.errors import MediaError

# format as Pillow names it → MIME type and file extension
FORMATS = {
    "PNG": ("image/png", "png"),
    "JPEG": ("image/jpeg", "jpg"),
    "WEBP": ("image/webp", "webp"),
    "BMP": ("image/bmp", "bmp"),
    "GIF": ("image/gif", "gif"),
}
ACCEPTED = "PNG, JPG, WEBP, BMP or GIF"

_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    OverflowError,
    EOFError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
)
_ROTATED = frozenset({5, 6, 7, 8})  # EXIF orientations that swap width and height


@dataclass(frozen=True, slots=True)
class Picture:
    """What a picture is. Width and height are pixels as shown, after the EXIF orientation."""

    mime: str
    extension: str
    width: int
    height: int


def check_picture(data: bytes, max_pixels: int) -> Picture:
    """Look at the header, then decode the whole (first) frame. Raises `MediaError`; blocks for the decoding."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a corrupt EXIF block or an odd size is no news to the sender
        try:
            return _check(data, max_pixels)
        except Image.DecompressionBombError as error:  # Pillow's own limit, checked while it reads the header
            raise MediaError(f"The image is too large, {_limit(max_pixels)}.") from error
        except _DECODER_ERRORS as error:
            raise MediaError(f"The image cannot be decoded: {_reason(error)}.") from error


def _check(data: bytes, max_pixels: int) -> Picture:
    try:
        image = Image.open(io.BytesIO(data), formats=list(FORMATS))
    except Image.UnidentifiedImageError as error:
        raise MediaError(f"The data is no image. It must be {ACCEPTED}.") from error
    with image:
        width, height = image.size
        if width * height > max_pixels:
            raise MediaError(f"The image is too large: {width}×{height}, {_limit(max_pixels)}.")
        if width < 1 or height < 1:
            raise MediaError("The image has no pixels.")
        mime, extension = FORMATS[image.format or ""]
        image.load()
        if _orientation(image) in _ROTATED:
            width, height = height, width
        return Picture(mime, extension, width, height)


def _limit(max_pixels: int) -> str:
    return f"the limit is {max_pixels / 1e6:g} million pixels"


def _orientation(image: Image.Image) -> int | None:
    """The EXIF orientation; a corrupt block counts as none."""
    try:
        return image.getexif().get(0x0112)
    except _DECODER_ERRORS:
        return None


def _reason(error: BaseException) -> str:
    text = str(error).rstrip(".")
    return text if text and not isinstance(error, KeyError | TypeError | IndexError) else "it is damaged"
