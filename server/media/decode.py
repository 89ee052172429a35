"""Checks encoded images: their format, their size, and that they can be decoded.

The bytes come from strangers. The header is checked before any pixel is decoded, and every error of a decoder becomes
a `MediaError`. Stores nothing.
"""

import re
import struct
import threading
import warnings
import zlib
from dataclasses import dataclass

from PIL import Image

from pipelines.pictures.image_files import WIDE_MODES, open_image
from server.errors import MediaError

ACCEPTED = "PNG, JPG, WEBP, AVIF, HEIC, TIFF, BMP or GIF"

# format as Pillow names it → MIME type and file extension
_FILES = {
    "PNG": ("image/png", "png"),
    "JPEG": ("image/jpeg", "jpg"),
    "MPO": ("image/jpeg", "jpg"),  # several JPEGs in one file, as phones write; the first one is used
    "WEBP": ("image/webp", "webp"),
    "BMP": ("image/bmp", "bmp"),
    "GIF": ("image/gif", "gif"),
    "TIFF": ("image/tiff", "tiff"),
    "AVIF": ("image/avif", "avif"),
    "HEIF": ("image/heic", "heic"),
}

_DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    MemoryError,
    RuntimeError,
    struct.error,
    zlib.error,
)
_ROTATED = frozenset({5, 6, 7, 8})  # EXIF orientations that swap width and height
# Warning filters belong to the process: of two threads that change them at once, one would leave its own behind.
# Decoding one image at a time also bounds the memory.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True, slots=True)
class Picture:
    """The type and the size of an encoded image. Width and height are in pixels, after the EXIF orientation."""

    mime: str
    extension: str
    width: int
    height: int


def check_picture(data: bytes, max_pixels: int) -> Picture:
    """Check the header, then decode the first frame. Blocks. Raises `MediaError`."""
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about corrupt EXIF blocks and odd sizes, which do no harm
        try:
            return _check(data, max_pixels)
        except Image.DecompressionBombError as error:  # Pillow's own limit, checked while it reads the header
            raise _too_large(_announced_pixels(error), max_pixels) from error
        except _DECODER_ERRORS as error:
            raise MediaError(f"The image cannot be decoded: {_reason(error)}.") from error


def _check(data: bytes, max_pixels: int) -> Picture:
    try:
        image = open_image(data)
    except Image.UnidentifiedImageError as error:
        raise MediaError(f"The data is no image. It must be {ACCEPTED}.") from error
    with image:
        width, height = image.size
        if width * height > max_pixels:
            raise _too_large(f"{width}×{height}", max_pixels)
        mime, extension = _FILES[image.format or ""]
        if image.mode in WIDE_MODES:
            raise MediaError("The image has samples of 32 bits. At most 16 bits a channel can be read.")
        image.load()
        if _orientation(image) in _ROTATED:
            width, height = height, width
        return Picture(mime, extension, width, height)


def _too_large(size: str, max_pixels: int) -> MediaError:
    return MediaError(f"The image is too large: {size}, the limit is {_millions(max_pixels)}.")


def _announced_pixels(error: Image.DecompressionBombError) -> str:
    """The number of pixels in a header. Pillow gives it in the error's message only."""
    number = re.search(r"\d+", str(error))
    return _millions(int(number[0])) if number else "more than can be decoded"


def _millions(pixels: int) -> str:
    return f"{pixels / 1e6:,.10g} million pixels"


def _orientation(image: Image.Image) -> int | None:
    """The EXIF orientation. None without one, or when the block is corrupt."""
    try:
        return image.getexif().get(0x0112)
    except _DECODER_ERRORS:
        return None


def _reason(error: Exception) -> str:
    """Why decoding failed: Pillow's message where it is written for people."""
    return str(error).rstrip(".") if isinstance(error, OSError) and error.args else "it is damaged"
