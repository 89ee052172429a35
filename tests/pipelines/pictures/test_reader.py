import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import PictureError
from pipelines.pictures import reader as images
from pipelines.pictures.image_files import open_image
from pipelines.pictures.reader import PictureReader
from pipelines.request import Reference
from tests.odd_images import BLUE as SCENE_BLUE
from tests.odd_images import PLACES, SIZE, OddImage, grey_profile, png_16, save, scene, shows_scene

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def opened(tmp_path: Path, image: Image.Image, image_format: str = "PNG", **options: object) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return reopened(tmp_path, buffer.getvalue())


def reopened(tmp_path: Path, data: bytes) -> Image.Image:
    path = tmp_path / "reference"
    path.write_bytes(data)
    return PictureReader().image(Reference(path, "", 1, 1), "picture")


def colours(picture: Image.Image) -> list[tuple[int, ...]]:
    """The pixels, row by row."""
    return [tuple(pixel) for pixel in np.asarray(picture).reshape(-1, 3).tolist()]


def corners(size: tuple[int, int] = (6, 4)) -> Image.Image:
    """Red top left, green top right, blue bottom left, white elsewhere."""
    image = Image.new("RGB", size, WHITE)
    width, height = size
    for colour, place in ((RED, (0, 0)), (GREEN, (width - 1, 0)), (BLUE, (0, height - 1))):
        image.putpixel(place, colour)
    return image


@pytest.mark.parametrize(
    ("orientation", "stored"),
    [
        (1, None),
        (2, Image.Transpose.FLIP_LEFT_RIGHT),
        (3, Image.Transpose.ROTATE_180),
        (4, Image.Transpose.FLIP_TOP_BOTTOM),
        (5, Image.Transpose.TRANSPOSE),
        (6, Image.Transpose.ROTATE_90),
        (7, Image.Transpose.TRANSVERSE),
        (8, Image.Transpose.ROTATE_270),
        (9, None),
    ],
)
def test_a_turned_picture_is_upright(tmp_path: Path, orientation: int, stored: Image.Transpose | None) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    shown = corners()
    image = shown if stored is None else shown.transpose(stored)
    assert opened(tmp_path, image, exif=exif).tobytes() == shown.tobytes()


def test_a_corrupt_exif_block_is_no_reason_to_fail(tmp_path: Path) -> None:
    picture = opened(tmp_path, corners(), exif=b"Exif\x00\x00MM\x8a*\x00\x00\x00\x08\x00\x01\x01\x12")
    assert picture.tobytes() == corners().tobytes()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_is_on_white(tmp_path: Path, mode: str) -> None:
    image = Image.new(mode, (3, 2), (0,) * len(mode))
    assert set(colours(opened(tmp_path, image))) == {WHITE}


def test_half_transparency_is_mixed_with_white(tmp_path: Path) -> None:
    (colour,) = set(colours(opened(tmp_path, Image.new("RGBA", (3, 2), (200, 0, 0, 128)))))
    assert colour == pytest.approx((227, 127, 127), abs=1)


def test_a_palette_with_a_transparent_entry(tmp_path: Path) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    assert colours(opened(tmp_path, image)) == [(10, 20, 30), (40, 50, 60)]
    assert colours(opened(tmp_path, image, transparency=0)) == [WHITE, (40, 50, 60)]


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "BMP", "WEBP", "GIF"])
def test_greys(tmp_path: Path, image_format: str) -> None:
    picture = opened(tmp_path, Image.new("L", (3, 2), 77), image_format)
    assert (picture.mode, picture.size) == ("RGB", (3, 2))
    assert np.abs(np.asarray(picture).astype(int) - 77).max() <= 1


def test_sixteen_bit_greys_are_scaled_not_clipped(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 32768, 65535]], dtype=np.uint16))
    assert [red for red, _, _ in colours(opened(tmp_path, image))] == [0, 127, 255]


def test_black_and_white_and_print_colours(tmp_path: Path) -> None:
    assert set(colours(opened(tmp_path, Image.new("1", (2, 2), 1)))) == {WHITE}
    assert opened(tmp_path, Image.new("CMYK", (2, 2)), "JPEG").mode == "RGB"


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(PictureError, match="gone"):
        PictureReader().image(Reference(tmp_path / "gone", "", 1, 1), "picture")


def file_of(tmp_path: Path, data: bytes) -> Reference:
    path = tmp_path / "reference"
    path.write_bytes(data)
    return Reference(path, "", 1, 1)


@pytest.mark.parametrize("odd", [pytest.param(odd, id=odd.name) for odd in shows_scene()])
def test_an_odd_file_is_read_as_every_viewer_shows_it(tmp_path: Path, odd: OddImage) -> None:
    shown = PictureReader().image(file_of(tmp_path, odd.data), "picture")
    assert (shown.mode, shown.size, shown.info) == ("RGB", SIZE, {})
    wanted = scene().convert("L").convert("RGB") if odd.grey else scene()
    for place in PLACES:
        assert shown.getpixel(place) == pytest.approx(wanted.getpixel(place), abs=odd.tolerance)


@pytest.mark.parametrize("grey", [True, False])
def test_the_transparent_color_of_16_bits_lies_on_white(tmp_path: Path, grey: bool) -> None:
    shown = PictureReader().image(file_of(tmp_path, png_16(grey=grey, key=True)), "picture")
    assert shown.getpixel((10, 6)) == WHITE
    wanted = scene().convert("L").convert("RGB") if grey else scene()
    assert shown.getpixel((38, 6)) == wanted.getpixel((38, 6))


def test_the_transparent_part_of_a_mask_is_black(tmp_path: Path) -> None:
    mask = PictureReader().mask(file_of(tmp_path, png_16(key=True)), "mask")
    assert mask[6, 10] == 0
    assert mask[6, 38] == pytest.approx(np.asarray(Image.new("RGB", (1, 1), SCENE_BLUE).convert("L")).item() / 255)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_samples_of_32_bits_are_refused(tmp_path: Path, mode: str) -> None:
    with pytest.raises(PictureError, match="samples of 32 bits"):
        PictureReader().image(file_of(tmp_path, save(Image.new(mode, (4, 4)), "TIFF")), "picture")


def test_a_profile_that_cannot_be_used_leaves_a_warning(tmp_path: Path) -> None:
    reader = PictureReader()
    reader.image(file_of(tmp_path, save(scene(), "PNG")), "seed image")
    assert reader.warnings == []
    wrong = file_of(tmp_path, save(scene(), "PNG", icc_profile=grey_profile()))
    reader.image(wrong, "seed image")
    reader.mask(wrong, "mask")
    assert reader.warnings == [
        f"The color profile of the {name} is made for L images, and this one is RGB: its colors count as sRGB."
        for name in ("seed image", "mask")
    ]


def test_a_file_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []
    monkeypatch.setattr(images, "open_image", lambda path: decoded.append(path) or open_image(path))
    PictureReader().image(file_of(tmp_path, save(scene(), "PNG", icc_profile=grey_profile())), "seed image")
    assert len(decoded) == 1
