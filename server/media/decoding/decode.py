"""Checks encoded images: their format, their size, and that they can be decoded. Writes them anew as plain PNGs.

The bytes come from strangers. The header is checked before any pixel is decoded, and every error of a decoder becomes
a `MediaError`. Knows no processes: `decoder_process` runs this where it can be killed.
"""

import contextlib
import os
import re
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image, PngImagePlugin

from pipelines.pictures.image_files import COLOR_PROBLEM, DECODER_ERRORS, WIDE_MODES, open_image
from pipelines.pictures.reader import show, upright_size
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

# Each scan of a progressive JPEG passes over all of its pixels again. Encoders write 5 to 20; libjpeg has no limit.
MAX_SCANS = 100
# Not within coded pixels, where a zero or a count follows.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)
_SCAN, _END = 0xDA, 0xD9
_ALONE = frozenset({0x01, 0xD8})  # markers without a length: TEM, SOI
_THUMBNAIL_QUALITY = 80
_RUN_LENGTHS = 3  # zlib's Z_RLE: two thirds of the time of its other strategies, and about the same size for photos
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


def check_picture(data: bytes, max_pixels: int, prepare: Callable[[int], None] | None = None) -> Picture:
    """Check the header, then decode the first frame. Blocks. Raises `MediaError`.

    `prepare` is called with the number of pixels between the two.
    """
    with _opened(data, max_pixels) as image:
        _load(image, prepare)
        mime, extension = _FILES[image.format or ""]
        return Picture(mime, extension, *upright_size(image))


def rewrite_picture(data: bytes, max_pixels: int, path: Path, prepare: Callable[[int], None] | None = None) -> Picture:
    """Check and decode as `check_picture` does, then write the pixels upright and in sRGB as a PNG without metadata.

    `PictureReader` reads the same pixels and the same warnings from it. Blocks. Raises `MediaError`, and `OSError`
    where the file cannot be written.
    """
    with _opened(data, max_pixels) as image:
        image.info.pop(COLOR_PROBLEM, None)  # a stranger's text
        _load(image, prepare)
        shown = show(image)
    texts = PngImagePlugin.PngInfo()
    if shown.problem is not None:
        texts.add_text(COLOR_PROBLEM, shown.problem)
    with _written_through(path) as file:
        shown.image.save(file, "PNG", compress_level=1, compress_type=_RUN_LENGTHS, pnginfo=texts)
    return Picture("image/png", "png", *shown.image.size)


def shrink_picture(
    data: bytes, max_pixels: int, path: Path, longest: int, prepare: Callable[[int], None] | None = None
) -> Picture:
    """Check and decode as `check_picture` does, then write a WEBP without metadata, whose sides are `longest` at most.

    A picture that is smaller keeps its size. Blocks. Raises `MediaError`, and `OSError` where the file cannot be
    written.
    """
    with _opened(data, max_pixels) as image:
        _load(image, prepare, least=2 * longest)
        small = show(image).image
    small.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    small.info = {}  # Pillow writes the profile of an image that was read from a file
    with _written_through(path) as file:
        small.save(file, "WEBP", quality=_THUMBNAIL_QUALITY)
    return Picture("image/webp", "webp", *small.size)


@contextlib.contextmanager
def _written_through(path: Path) -> Iterator[BinaryIO]:
    """A new file, which is on the disk after the block."""
    with path.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextlib.contextmanager
def _opened(data: bytes, max_pixels: int) -> Iterator[Image.Image]:
    """The image behind a header that has been checked. Every error of a decoder within the block is a `MediaError`."""
    with _ONE_AT_A_TIME, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about corrupt EXIF blocks and odd sizes, which do no harm
        try:
            with _open(data, max_pixels) as image:
                yield image
        except Image.DecompressionBombError as error:  # Pillow's own limit, checked while it reads the header
            raise _too_large(_announced_pixels(error), max_pixels) from error
        except DECODER_ERRORS as error:
            raise MediaError(f"The image cannot be decoded: {_reason(error)}.") from error


def _open(data: bytes, max_pixels: int) -> Image.Image:
    try:
        image = open_image(data)
    except Image.UnidentifiedImageError as error:
        raise MediaError(f"The data is no image. It must be {ACCEPTED}.") from error
    width, height = image.size
    if width * height > max_pixels:
        raise _too_large(f"{width}×{height}", max_pixels)
    if image.mode in WIDE_MODES:
        raise MediaError("The image has samples of 32 bits. At most 16 bits a channel can be read.")
    if image.format in ("JPEG", "MPO") and (scans := count_scans(data)) > MAX_SCANS:
        raise MediaError(f"The image has more than {MAX_SCANS} scans: {scans}.")
    return image


def _load(image: Image.Image, prepare: Callable[[int], None] | None, *, least: int | None = None) -> None:
    """Decode. A JPEG may be decoded at a half, a quarter or an eighth of its size if both sides keep `least` pixels."""
    if prepare is not None:
        prepare(image.size[0] * image.size[1])
    if least is not None:
        image.draft(None, (least, least))
    image.load()


def count_scans(jpeg: bytes) -> int:
    """The scans of the first picture of a JPEG file, without those of the preview in its metadata."""
    scans, place = 0, 2
    while found := _MARKER.search(jpeg, place):
        marker, place = found.group()[1], found.end()
        if marker == _END:
            break
        scans += marker == _SCAN
        if marker not in _ALONE:
            place += int.from_bytes(jpeg[place : place + 2], "big")
    return scans


def _too_large(size: str, max_pixels: int) -> MediaError:
    return MediaError(f"The image is too large: {size}, the limit is {_millions(max_pixels)}.")


def _announced_pixels(error: Image.DecompressionBombError) -> str:
    """The number of pixels in a header. Pillow gives it in the error's message only."""
    number = re.search(r"\d+", str(error))
    return _millions(int(number[0])) if number else "more than can be decoded"


def _millions(pixels: int) -> str:
    return f"{pixels / 1e6:,.10g} million pixels"


def _reason(error: Exception) -> str:
    """Why decoding failed: Pillow's message where it is written for people."""
    if isinstance(error, MemoryError):
        return "it takes too much memory"
    return str(error).rstrip(".") if isinstance(error, OSError) and error.args else "it is damaged"
