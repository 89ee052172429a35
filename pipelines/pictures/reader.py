"""Opens input pictures in sRGB as a viewer would show them, and masks as arrays.

Knows Pillow; knows no model.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from pipelines.errors import PictureError
from pipelines.pictures.color import color_problem, to_srgb
from pipelines.pictures.image_files import DECODER_ERRORS, WIDE_MODES, open_image

if TYPE_CHECKING:
    from pipelines.request import Reference

# Each EXIF orientation, and the transpose that undoes it. Pillow's ImageOps.exif_transpose has the same table, but it
# fails on EXIF blocks that it cannot rewrite.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ROTATED = frozenset({5, 6, 7, 8})  # orientations that swap width and height
_ORIENTATION = 0x0112


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture as a viewer shows it: upright and in sRGB, RGB or RGBA. `problem`: why its profile was not used."""

    image: Image.Image
    problem: str | None


def show(file: Image.Image) -> Shown:
    """The decoded first frame of a file as a viewer shows it."""
    turn, image = _TURNS.get(_orientation(file)), _eight_bits(file)
    shown = to_srgb(image)
    return Shown(shown if turn is None else shown.transpose(turn), color_problem(image))


def upright_size(file: Image.Image) -> tuple[int, int]:
    """Width and height of an image file after its EXIF orientation."""
    return (file.height, file.width) if _orientation(file) in _ROTATED else file.size


class PictureReader:
    """Opens the pictures of one request, and collects a warning for each color profile that cannot be used.

    `warnings` name a picture as its caller does: "seed image", "reference image 2".
    """

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def image(self, reference: "Reference", name: str) -> Image.Image:
        """The picture upright, in sRGB, with transparency on white. Raises `PictureError`."""
        return self._open(reference, name, page="white")

    def mask(self, reference: "Reference", name: str) -> np.ndarray:
        """The picture's brightness as a mask [H, W] in 0…1, with transparency on black. Raises `PictureError`."""
        return np.asarray(self._open(reference, name, page="black").convert("L"), dtype=np.float32) / 255

    def _open(self, reference: "Reference", name: str, page: str) -> Image.Image:
        with _file(reference.path) as file:
            shown = show(file)
        if shown.problem:
            self.warnings.append(f"The color profile of the {name} {shown.problem}: its colors count as sRGB.")
        return _on_page(shown.image, page)


def _on_page(shown: Image.Image, page: str) -> Image.Image:
    """An image without its transparency: on a page of one color."""
    if shown.mode != "RGBA":
        return shown
    return Image.alpha_composite(Image.new("RGBA", shown.size, page), shown).convert("RGB")


def _file(path: Path) -> Image.Image:
    """The decoded first frame of a file."""
    try:
        image = open_image(path)
        image.load()
    except FileNotFoundError as error:  # the messages name no file: a sender must not learn the server's paths
        raise PictureError("the picture is gone") from error
    except (OSError, ValueError, SyntaxError) as error:
        raise PictureError("the picture cannot be opened") from error
    if image.mode in WIDE_MODES:
        raise PictureError("the picture has samples of 32 bits")
    return image


def _eight_bits(image: Image.Image) -> Image.Image:
    """The image with 8 bits a channel: L, RGB, CMYK or LAB, with alpha where anything is transparent."""
    if image.mode.startswith("I;16"):
        return _grey(image)
    if image.mode in ("L", "LA", "RGB", "RGBA", "CMYK", "LAB"):
        mode = image.mode
        if image.has_transparency_data and mode in ("L", "RGB"):
            return _keep_profile(image, _keyed_out(image))
        return image
    mode = "L" if image.mode == "1" else "RGB"
    if image.has_transparency_data:
        mode = "RGBA"
    return _keep_profile(image, image.convert(mode))


def _grey(image: Image.Image) -> Image.Image:
    """16-bit grey; converting it with Pillow would clip the levels instead of scaling them."""
    levels = np.asarray(image)
    grey = Image.fromarray((levels // 257).astype(np.uint8))
    if (key := image.info.get("transparency")) is not None:
        grey.putalpha(Image.fromarray(np.where(levels == key, 0, 255).astype(np.uint8)))
    return _keep_profile(image, grey)


def _keyed_out(image: Image.Image) -> Image.Image:
    """An image one of whose colors is transparent, with an alpha channel. A file of 16 bits names it with 16 bits."""
    key = np.atleast_1d(image.info["transparency"])
    levels = np.asarray(image)
    if key.max(initial=0) > 255:
        key = key >> 8  # Pillow keeps the upper byte of each sample
    same = (levels.reshape(*levels.shape[:2], -1) == key).all(axis=-1)
    keyed = image.copy()
    keyed.info.pop("transparency")
    keyed.putalpha(Image.fromarray(np.where(same, 0, 255).astype(np.uint8)))
    return keyed


def _keep_profile(source: Image.Image, image: Image.Image) -> Image.Image:
    image.info = {name: value for name, value in source.info.items() if name != "transparency"}
    return image


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; a corrupt block counts as none."""
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except DECODER_ERRORS:
        return 1
