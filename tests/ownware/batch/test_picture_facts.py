"""What is said of a picture before it is decoded, and which files are none."""

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from ownware.batch.item import ItemError
from ownware.batch.picture_facts import read_facts
from tests.bombs import BOMB
from tests.fakes import picture
from tests.odd_images import png_16, save, scene, shows_scene

ODD = {odd.name: odd.data for odd in shows_scene()}


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("PNG RGB of 16 bits", "16 bits a channel are reduced to 8"),
        ("PNG L of 16 bits", "16 bits a channel are reduced to 8"),
        ("TIFF L of 16 bits", "16 bits a channel are reduced to 8"),
        ("GIF of two frames", "2 frames: the first one is used"),
        ("WEBP of two frames", "2 frames: the first one is used"),
        ("JPEG CMYK", "CMYK: the result is RGB"),
        ("TIFF CMYK", "CMYK: the result is RGB"),
        ("JPEG", None),
        ("PNG RGB", None),
        ("HEIC", None),
        ("a damaged EXIF block", None),
    ],
)
def test_what_a_result_cannot_have_is_said(tmp_path: Path, name: str, note: str | None) -> None:
    path = tmp_path / "picture"
    path.write_bytes(ODD[name])
    assert read_facts(path).notes == (() if note is None else (note,))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF", "HEIF"])
def test_the_size_is_that_of_the_upright_picture(tmp_path: Path, image_format: str) -> None:
    path = tmp_path / "picture"
    exif = Image.Exif()
    exif[0x0112] = 6
    path.write_bytes(save(scene(), image_format, exif=exif.tobytes()))
    facts = read_facts(path)
    assert (facts.width, facts.height, facts.format) == (32, 48, image_format)


def test_a_block_of_exif_that_ends_early_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(save(scene(), "PNG", exif=b"Exif\0\0II*\0"))
    facts = read_facts(path)
    assert (facts.width, facts.height) == scene().size


def test_transparency_of_every_kind_is_alpha(tmp_path: Path) -> None:
    path = tmp_path / "picture"
    for data, has_alpha in ((png_16(key=True), True), (ODD["PNG RGBA"], True), (ODD["PNG RGB"], False)):
        path.write_bytes(data)
        os.utime(path, ns=(0, len(data)))
        assert read_facts(path).has_alpha == has_alpha


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "the file is empty"),
        (b"hello", "the file is no picture: it must be PNG, JPG"),
        (picture(64, 48)[:30], "the file is damaged|the file is no picture"),
        (BOMB, "the picture is too large"),
    ],
)
def test_files_that_are_no_pictures(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    with pytest.raises(ItemError, match=reason):
        read_facts(path)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ItemError, match="cannot be read: No such file"):
        read_facts(tmp_path / "missing.png")
    with pytest.raises(ItemError, match="it is a folder"):
        read_facts(tmp_path)


def test_a_file_that_has_changed_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "picture"
    for width in (20, 30):
        path.write_bytes(picture(width, 20))
        os.utime(path, ns=(0, width))
        assert read_facts(path).width == width
    assert Image.open(io.BytesIO(path.read_bytes())).width == 30
