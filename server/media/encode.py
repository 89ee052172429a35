"""Encodes finished images. The same image and text give the same bytes.

Knows formats and qualities. Runs in worker processes, and for control images in the API process.
"""

import io
from dataclasses import dataclass
from typing import Any

from PIL import Image

from server.media import metadata
from server.media.metadata import Format

_FILES: dict[Format, tuple[str, str, str]] = {
    "JPG": ("JPEG", "image/jpeg", "jpg"),
    "PNG": ("PNG", "image/png", "png"),
    "WEBP": ("WEBP", "image/webp", "webp"),
}
# From this quality on, JPEG keeps the full resolution of colour, which thin coloured letters need.
FULL_CHROMA_QUALITY = 90
# Runware's documented default of `outputQuality`. The other dialects take it where a client names none.
DEFAULT_QUALITY = 95
# zlib's fastest level: for photos of 1024² a fifth of the time of its default level 6, and about 15 % more bytes.
PNG_LEVEL = 1


@dataclass(frozen=True, slots=True)
class Encoding:
    """A file format and its quality, 20 to 99. PNG has no quality."""

    format: Format
    quality: int

    @property
    def mime(self) -> str:
        """The MIME type of the file."""
        return _FILES[self.format][1]

    @property
    def extension(self) -> str:
        """The extension of the file, without its dot."""
        return _FILES[self.format][2]


def encode(
    image: Image.Image,
    encoding: Encoding,
    text: str | None = None,
    *,
    exif: Image.Exif | None = None,
    icc_profile: bytes | None = None,
) -> bytes:
    """Encode an RGB image, or one with alpha for PNG and WEBP. Its metadata are the arguments and nothing else.

    `text` is ASCII. `icc_profile` says what the numbers of the image mean; without it they are sRGB. Raises
    `ValueError` when the text or the EXIF block does not fit.
    """
    options: dict[str, Any] = {"quality": encoding.quality}
    if encoding.format == "JPG":
        options["subsampling"] = "4:4:4" if encoding.quality >= FULL_CHROMA_QUALITY else "4:2:0"
    elif encoding.format == "PNG":
        options = {"compress_level": PNG_LEVEL}
    if exif is not None:
        options["exif"] = exif
    if icc_profile is not None:
        options["icc_profile"] = icc_profile
    if text is not None:
        options |= metadata.save_options(text, encoding.format, exif)
    image = image.copy()
    image.info = {}  # Pillow writes the profile and the comments of an image that was read from a file
    buffer = io.BytesIO()
    image.save(buffer, _FILES[encoding.format][0], **options)
    return buffer.getvalue()
