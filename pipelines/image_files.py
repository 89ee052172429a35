"""Opens encoded images of every format that is taken. Knows files and Pillow's readers; knows no color.

PNG text is cut out first: nobody reads it here, and Pillow refuses a file whose text unpacks to over 1 MiB, as the
workflow texts of image editors do.
"""

import io
import zlib
from collections.abc import Iterator
from pathlib import Path

import pillow_heif
from PIL import Image

# Pillow's names. MPO is several JPEGs in one file, as phones write it; its reader belongs to JPEG.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "HEIF")
# Four bytes a sample. A file does not say which of these values are black and white.
WIDE_MODES = frozenset({"I", "F"})

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXT_CHUNKS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_MAX_PROFILE = 2**20  # Pillow's limit for the unpacked chunk: PngImagePlugin.MAX_TEXT_CHUNK

pillow_heif.register_heif_opener()


def open_image(source: Path | bytes) -> Image.Image:
    """Open an encoded image at its first frame; its pixels are not decoded yet.

    Raises what Pillow raises: `PIL.UnidentifiedImageError` for other data, `OSError` for a damaged file.
    """
    data = source if isinstance(source, bytes) else source.read_bytes()
    if data.startswith(_PNG_SIGNATURE):
        data = b"".join(_without_text(data))
    return Image.open(io.BytesIO(data), formats=FORMATS)


def _without_text(png: bytes) -> Iterator[bytes]:
    """The parts of a PNG without its text chunks, and without a profile that is too large to be unpacked."""
    yield _PNG_SIGNATURE
    start = len(_PNG_SIGNATURE)
    while start + 8 <= len(png):
        length, kind = int.from_bytes(png[start : start + 4], "big"), png[start + 4 : start + 8]
        end = start + 12 + length  # length, kind, data, checksum
        if kind not in _TEXT_CHUNKS and not (kind == b"iCCP" and _too_large(png[start + 8 : end - 4])):
            yield png[start:end]
        start = end


def _too_large(profile_chunk: bytes) -> bool:
    packed = profile_chunk.partition(b"\0")[2][1:]  # a name, a zero byte, the method of compression
    try:
        return len(zlib.decompressobj().decompress(packed, _MAX_PROFILE + 1)) > _MAX_PROFILE
    except zlib.error:
        return False  # Pillow takes a damaged profile for none
