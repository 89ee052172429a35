"""From a rendered picture to the bytes of its file: what the source has that the render has not, then the encoding.

Knows pictures; knows no batch.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from ownware.batch.renderers.base import Rendered
from ownware.batch.results.alpha import keep_alpha
from ownware.batch.results.kept_metadata import KeptMetadata, in_profile, read_metadata
from pipelines.pictures.image_files import open_image
from pipelines.pictures.reader import show
from server.media.encode import Encoding, encode
from server.media.metadata import fits


@dataclass(frozen=True, slots=True)
class Finish:
    """How a result becomes a file. `source` is the picture before, None for a drawing. `mask` is that of the task."""

    encoding: Encoding
    source: Path | None = None
    mask: Path | None = None
    strip: bool = False


def result_file(rendered: Rendered, finish: Finish) -> tuple[bytes, tuple[str, ...]]:
    """The bytes of a result's file, and notes for the user. The same render and source give the same bytes."""
    image, notes = rendered.image, rendered.notes
    kept = KeptMetadata()
    if finish.source is not None:
        image, said = _with_alpha(image, _shown(finish.source), finish)
        notes += said
        if not finish.strip:
            kept = read_metadata(finish.source, image.size, finish.encoding.format)
            notes += kept.notes
    if kept.icc_profile is not None:
        image = in_profile(image, kept.icc_profile)
    receipt = rendered.receipt
    encoding = finish.encoding
    text = None if receipt is None else replace(receipt, encoding=(encoding.format, encoding.quality)).to_json()
    if text is not None and not _has_room(text, kept, encoding):
        text = None
        notes += ("the prompts are too long for a JPG to carry the receipt",)
    return encode(image, encoding, text, exif=kept.exif, icc_profile=kept.icc_profile), notes


def _with_alpha(image: Image.Image, source: Image.Image, finish: Finish) -> tuple[Image.Image, tuple[str, ...]]:
    """The result with the transparency of its source, which is upright and in sRGB, and notes for the user."""
    if source.mode != "RGBA" or source.getchannel("A").getextrema() == (255, 255):
        return image, ()
    if finish.encoding.format == "JPG":
        return image, ("a JPG has no transparency: it is white",)
    return keep_alpha(image, source, None if finish.mask is None else _shown(finish.mask)), ()


def _shown(path: Path) -> Image.Image:
    with open_image(path) as image:
        image.load()
        return show(image).image


def _has_room(text: str, kept: KeptMetadata, encoding: Encoding) -> bool:
    """Whether the file can hold the receipt beside the EXIF block."""
    beside = 0 if kept.exif is None else len(kept.exif.tobytes())
    return fits(text + " " * beside, encoding.format)
