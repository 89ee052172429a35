"""Input images of the Python API as the files that the pipelines read.

A file stays where it is, so that its SHA-256 in the receipt is the file's own. An image in memory is written as PNG.
"""

from pathlib import Path

from PIL import Image

from ownware.images.options import ImageInput
from ownware.options import OptionError
from pipelines.catalog.fingerprint import file_digest
from pipelines.limits import MAX_ASPECT
from pipelines.request import Reference
from server.errors import MediaError
from server.media.decoding.decode import check_picture


class ImageInputs:
    """Checks input images. `folder` receives those that are in memory; `max_pixels` is the largest size."""

    def __init__(self, folder: Path, max_pixels: int) -> None:
        self._folder = folder
        self._max_pixels = max_pixels

    def reference(self, option: str, image: ImageInput) -> Reference:
        """The file of an image, decoded once and found good. Raises `OptionError`."""
        path = self._write(option, image) if isinstance(image, Image.Image) else Path(image).expanduser().absolute()
        try:
            picture = check_picture(path.read_bytes(), self._max_pixels)
        except OSError as error:
            raise OptionError(option, f"{path}: {error.strerror}") from error
        except MediaError as error:
            raise OptionError(option, f"{path}: {error.message}") from error
        width, height = picture.width, picture.height
        if max(width, height) > MAX_ASPECT * min(width, height):
            raise OptionError(option, f"{width}×{height} pixels: the sides must not differ by more than 1:{MAX_ASPECT}")
        return Reference(path, file_digest(path), width, height)

    def _write(self, option: str, image: Image.Image) -> Path:
        path = self._folder / f"{option}.png"
        try:
            image.save(path, exif=b"")  # the pixels are taken as they are, whatever orientation the file had
        except OSError:  # a mode that PNG does not have
            image.convert("RGB").save(path)
        return path
