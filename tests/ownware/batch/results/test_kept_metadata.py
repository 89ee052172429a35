"""What a result keeps of its source: the capture data, its place, and its colors."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ownware.batch.results.kept_metadata import KeptMetadata, in_profile, read_metadata
from pipelines.pictures.reader import show
from server.media.encode import Encoding, encode
from server.media.metadata import Format
from tests.odd_images import grey_profile, p3_profile, save, scene

MAKE, MODEL, ORIENTATION, DETAILS, GPS = 0x010F, 0x0110, 0x0112, 0x8769, 0x8825
EXPOSURE, WIDTH, HEIGHT, COLOR_SPACE, MAKER_NOTE = 0x829A, 0xA002, 0xA003, 0xA001, 0x927C
FORMATS: list[Format] = ["JPG", "PNG", "WEBP"]


def capture(**details: Any) -> Image.Exif:
    exif = Image.Exif()
    exif[MAKE], exif[MODEL], exif[ORIENTATION] = "Maker", "Model 7", 6
    exif.get_ifd(DETAILS).update({EXPOSURE: 0.01, WIDTH: 48, HEIGHT: 32, COLOR_SPACE: 1})
    exif.get_ifd(GPS).update({1: "N", 2: (52.0, 30.0, 0.0)})
    exif.get_ifd(DETAILS).update({int(tag[1:], 16): value for tag, value in details.items()})
    return exif


def kept(tmp_path: Path, data: bytes, image_format: str = "JPG") -> KeptMetadata:
    path = tmp_path / "source"
    path.write_bytes(data)
    return read_metadata(path, (640, 480), image_format)


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "TIFF", "HEIF", "AVIF"])
def test_capture_data_survive(tmp_path: Path, source: str, image_format: Format) -> None:
    found = kept(tmp_path, save(scene(), source, exif=capture().tobytes()), image_format)
    data = encode(Image.new("RGB", (640, 480)), Encoding(image_format, 95), "{}", exif=found.exif)
    with Image.open(io.BytesIO(data)) as result:
        exif = result.getexif()
        details, place = exif.get_ifd(DETAILS), exif.get_ifd(GPS)
    assert (exif[MAKE], exif[MODEL]) == ("Maker", "Model 7")
    assert exif.get(ORIENTATION, 1) == 1
    assert float(details[EXPOSURE]) == pytest.approx(0.01)
    assert (details[WIDTH], details[HEIGHT], details[COLOR_SPACE]) == (640, 480, 1)
    assert place[1] == "N"
    assert not {0x0111, 0x0100, 0x0201} & exif.keys()
    assert found.notes == ()


def test_a_source_without_metadata(tmp_path: Path) -> None:
    assert kept(tmp_path, save(scene(), "JPEG")) == KeptMetadata()


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "block",
    [
        b"garbage",
        b"II*\0",  # ends before the place of its first directory
        b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x05\0\0\0\x01\0\0\0\x02\0\0\0\0",  # the orientation is a fraction
    ],
)
def test_a_damaged_block_is_left_out(tmp_path: Path, block: bytes, image_format: str) -> None:
    found = kept(tmp_path, save(scene(), image_format, exif=b"Exif\0\0" + block))
    assert found.exif is None


def test_a_long_makers_note_makes_room_for_the_receipt(tmp_path: Path) -> None:
    exif = capture(x927C=bytes(55_000))
    data = save(scene(), "JPEG", exif=exif.tobytes())
    found = kept(tmp_path, data)
    assert found.exif is not None
    assert MAKER_NOTE not in found.exif.get_ifd(DETAILS)
    assert found.exif[MAKE] == "Maker"
    assert "maker's note" in found.notes[0]
    as_png = kept(tmp_path, data, "PNG")
    assert as_png.exif is not None
    assert MAKER_NOTE in as_png.exif.get_ifd(DETAILS)


@pytest.mark.parametrize("source", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_colors_of_a_profile_are_kept(tmp_path: Path, source: str) -> None:
    found = kept(tmp_path, save(scene(), source, icc_profile=p3_profile(), exif=capture().tobytes()))
    assert found.icc_profile is not None
    assert found.exif is not None
    assert found.exif.get_ifd(DETAILS)[COLOR_SPACE] == 0xFFFF
    result = in_profile(scene(), found.icc_profile)
    data = encode(result, Encoding("PNG", 95), icc_profile=found.icc_profile)
    with Image.open(io.BytesIO(data)) as image:
        shown = show(image).image
    difference = np.abs(np.asarray(shown, dtype=int) - np.asarray(scene(), dtype=int))
    assert difference.max() <= 4
    assert result.getpixel((10, 6)) != scene().getpixel((10, 6))


def test_alpha_passes_through_a_profile() -> None:
    image = scene()
    image.putalpha(100)
    result = in_profile(image, p3_profile())
    assert (result.mode, result.getchannel("A").getextrema()) == ("RGBA", (100, 100))


def test_profiles_that_a_result_cannot_have(tmp_path: Path) -> None:
    grey = kept(tmp_path, save(scene().convert("L"), "PNG", icc_profile=grey_profile()))
    assert (grey.icc_profile, grey.notes) == (None, ("its profile is one of GRAY, so the result is in sRGB",))
    damaged = kept(tmp_path, save(scene(), "PNG", icc_profile=b"no profile at all"))
    assert (damaged.icc_profile, damaged.notes) == (
        None,
        ("its color profile cannot be used, so the result is in sRGB",),
    )
