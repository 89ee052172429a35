"""What the header of a picture says: its size, its format, and what of it a result cannot have.

Decodes no pixels. Knows files; knows no task.
"""

import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image

from ownware.batch.item import ItemError
from pipelines.pictures.image_files import DECODER_ERRORS, open_image
from pipelines.pictures.reader import upright_size
from server.media.decoding.decode import ACCEPTED

_BITS_PER_SAMPLE = 258  # of TIFF
_PNG_DEPTH = 24  # the place of the bit depth in a PNG


@dataclass(frozen=True, slots=True)
class PictureFacts:
    """The size in pixels, upright, the format as Pillow names it, and `notes` for the user."""

    width: int
    height: int
    format: str
    has_alpha: bool
    notes: tuple[str, ...]


def read_facts(path: Path) -> PictureFacts:
    """The facts of a picture. Raises `ItemError`, which does not name it, when it is missing or no picture."""
    try:
        stat = path.stat()
        return _read(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise ItemError(f"the file cannot be read: {error.strerror or error}") from error


@lru_cache(maxsize=4096)
def _read(path: Path, size: int, _changed: int) -> PictureFacts:
    if path.is_dir():
        raise ItemError("it is a folder")
    if size == 0:
        raise ItemError("the file is empty")
    data = path.read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about odd sizes and corrupt EXIF blocks, which do no harm
        try:
            with open_image(data) as image:
                # Pillow turns a TIFF while it opens it.
                width, height = image.size if image.format == "TIFF" else upright_size(image)
                return PictureFacts(
                    width, height, image.format or "", image.has_transparency_data, tuple(_notes(image, data))
                )
        except Image.UnidentifiedImageError as error:
            raise ItemError(f"the file is no picture: it must be {ACCEPTED}") from error
        except Image.DecompressionBombError as error:
            raise ItemError("the picture is too large to be decoded") from error
        except DECODER_ERRORS as error:
            raise ItemError(f"the file is damaged: {error}") from error


def _notes(image: Image.Image, data: bytes) -> list[str]:
    notes = []
    if (frames := getattr(image, "n_frames", 1)) > 1 and image.format != "MPO":
        notes.append(f"{frames} frames: the first one is used")
    if (bits := _bits(image, data)) > 8:
        notes.append(f"{bits} bits a channel are reduced to 8")
    if image.mode == "CMYK":
        notes.append("CMYK: the result is RGB")
    return notes


def _bits(image: Image.Image, data: bytes) -> int:
    """The bits of a channel in the file; Pillow reduces some of them while it opens it."""
    if image.format == "PNG":
        return data[_PNG_DEPTH]
    if image.format == "TIFF":
        bits = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (8,))
        return max(bits) if isinstance(bits, tuple) else int(bits)
    if image.format == "HEIF":
        return int(image.info.get("bit_depth", 8))
    return 8
