"""The result of the Python API: an image with everything that is needed to render it again."""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from ownware.options import OptionError, whole_number
from pipelines.receipt import Receipt
from server.media.encode import Encoding, encode
from server.media.files import write_file
from server.media.metadata import Format, fits

DEFAULT_QUALITY = 95
MIN_QUALITY, MAX_QUALITY = 20, 99
_FORMATS: dict[str, Format] = {".png": "PNG", ".jpg": "JPG", ".jpeg": "JPG", ".webp": "WEBP"}


@dataclass(frozen=True, slots=True)
class ImageResult:
    """A rendered image.

    `seed` is the seed it was rendered with, `warnings` what the caller should know, and `receipt` everything that
    `ownware replay` needs to render the same bytes again.
    """

    image: Image.Image
    seed: int
    receipt: Receipt
    warnings: tuple[str, ...]

    def save(self, path: str | Path, *, quality: int = DEFAULT_QUALITY) -> Path:
        """Write the image with its receipt, the same bytes as a server writes. Returns the path.

        The suffix decides the format: .png, .jpg or .webp. `quality` is 20 to 99; PNG has none. A receipt that is too
        long for a JPG is left out with a Python warning. Raises `ValueError` or `OSError`.
        """
        path = Path(path).expanduser()
        image_format = _FORMATS.get(path.suffix.lower())
        if image_format is None:
            raise OptionError("path", f"'{path}' ends in none of {', '.join(_FORMATS)}")
        encoding = Encoding(image_format, whole_number("quality", quality, MIN_QUALITY, MAX_QUALITY))
        text: str | None = replace(self.receipt, encoding=(encoding.format, encoding.quality)).to_json()
        if not fits(text, image_format):
            warnings.warn("The prompts are too long for a JPG to carry the receipt.", stacklevel=2)
            text = None
        write_file(path, encode(self.image, encoding, text))
        return path
