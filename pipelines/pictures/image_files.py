"""Opens encoded images of every format that is taken. Knows files and Pillow's readers; knows no color.

PNG text is cut out first: nobody reads it here, and Pillow refuses a file whose text unpacks to over 1 MiB, as the
workflow texts of image editors do. One text stays: what was wrong with the colors of the file that this one replaces.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pillow_heif
from PIL import Image

# Pillow's names. MPO is several JPEGs in one file, as phones write it; its reader belongs to JPEG.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "HEIF")
# What Pillow and its decoders raise for a damaged file.
DECODER_ERRORS = (
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
# Four bytes a sample. A file does not say which of these values are black and white.
WIDE_MODES = frozenset({"I", "F"})

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXT_CHUNKS = frozenset({b"tEXt", b"zTXt", b"iTXt"})
_HEAD = 2**16  # bytes of an AVIF or HEIF in which its boxes are looked for
_MAX_PROFILE = 2**20  # Pillow's limit for the unpacked chunk: PngImagePlugin.MAX_TEXT_CHUNK

_BOX = b"colrnclx"  # of AVIF and HEIF, before the code points of primaries and transfer, two bytes each
# The key of an image's `info` under which its color's code points are: (primaries, transfer).
COLOR_CODES = "color_codes"

# The key of an image's `info`, and of a PNG's text, under which the server says why a sender's profile was not used.
COLOR_PROBLEM = "ownware-color-problem"
_MAX_PROBLEM = 300  # bytes of that chunk; the sentences have less than 100

pillow_heif.register_heif_opener()


def open_image(source: Path | bytes) -> Image.Image:
    """Open an encoded image at its first frame; its pixels are not decoded yet.

    Raises what Pillow raises: `PIL.UnidentifiedImageError` for other data, `OSError` for a damaged file.
    """
    data = source if isinstance(source, bytes) else source.read_bytes()
    codes = None
    if data.startswith(_PNG_SIGNATURE):
        chunks = list(_chunks(data))
        codes = next(((c.data[0], c.data[1]) for c in chunks if c.kind == b"cICP" and len(c.data) == 4), None)
        # Code points go before a profile: PNG, third edition, 4.3.
        kept = [c.whole for c in chunks if _is_read(c) and not (codes and c.kind == b"iCCP")]
        data = b"".join((_PNG_SIGNATURE, *kept))
    elif data[4:8] == b"ftyp" and (place := data.find(_BOX, 0, _HEAD)) >= 0:
        start = place + len(_BOX)
        codes = int.from_bytes(data[start : start + 2], "big"), int.from_bytes(data[start + 2 : start + 4], "big")
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    if codes is not None:
        image.info[COLOR_CODES] = codes
    return image


@dataclass(frozen=True, slots=True)
class _Chunk:
    kind: bytes
    data: bytes
    whole: bytes


def _chunks(png: bytes) -> Iterator[_Chunk]:
    """The chunks of a PNG. The last one may be cut off."""
    start = len(_PNG_SIGNATURE)
    while start + 8 <= len(png):
        length, kind = int.from_bytes(png[start : start + 4], "big"), png[start + 4 : start + 8]
        end = start + 12 + length  # length, kind, data, checksum
        yield _Chunk(kind, png[start + 8 : end - 4], png[start:end])
        start = end


def _is_read(chunk: _Chunk) -> bool:
    """Whether a chunk goes on to Pillow: no text but our own, and no profile that is too large to be unpacked."""
    if chunk.kind in _TEXT_CHUNKS:
        own = chunk.kind == b"tEXt" and chunk.data.startswith(COLOR_PROBLEM.encode() + b"\0")
        return own and len(chunk.data) <= _MAX_PROBLEM
    return not (chunk.kind == b"iCCP" and _too_large(chunk.data))


def _too_large(profile_chunk: bytes) -> bool:
    packed = profile_chunk.partition(b"\0")[2][1:]  # a name, a zero byte, the method of compression
    try:
        return len(zlib.decompressobj().decompress(packed, _MAX_PROFILE + 1)) > _MAX_PROFILE
    except zlib.error:
        return False  # Pillow takes a damaged profile for none
