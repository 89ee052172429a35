from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from server.media.encode import Encoding, encode
from server.media.metadata import JPEG_LIMIT, Format, embedded_text, fits

FORMATS: list[Format] = ["JPG", "PNG", "WEBP"]
PICTURE = Image.linear_gradient("L").resize((32, 24)).convert("RGB")


@pytest.mark.parametrize("image_format", FORMATS)
@pytest.mark.parametrize("text", ["{}", '{"a": "<&>\\u7ea2"}', "x" * JPEG_LIMIT], ids=["short", "marked up", "long"])
def test_a_text_is_found_again(tmp_path: Path, image_format: Format, text: str) -> None:
    path = tmp_path / "image"
    path.write_bytes(encode(PICTURE, Encoding(image_format, 90), text))
    assert embedded_text(path) == text


@pytest.mark.parametrize("image_format", FORMATS)
def test_the_picture_is_the_same(tmp_path: Path, image_format: Format) -> None:
    shown = []
    for text in (None, "{}"):
        path = tmp_path / "image"
        path.write_bytes(encode(PICTURE, Encoding(image_format, 90), text))
        assert embedded_text(path) == text
        with Image.open(path) as image:
            shown.append(np.asarray(image))
    assert np.array_equal(*shown)


def test_the_same_text_gives_the_same_bytes() -> None:
    for image_format in FORMATS:
        assert len({encode(PICTURE, Encoding(image_format, 90), "{}") for _ in range(3)}) == 1


def test_a_jpeg_holds_no_more_than_a_segment() -> None:
    text = "x" * (JPEG_LIMIT + 1)
    assert [fits(text, image_format) for image_format in FORMATS] == [False, True, True]
    with pytest.raises(ValueError, match="65001 characters"):
        encode(PICTURE, Encoding("JPG", 90), text)


def test_a_foreign_comment_is_no_text_of_ours(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + "hello".encode("utf-16-le")
    PICTURE.save(path, exif=exif)
    assert embedded_text(path) is None
    path = tmp_path / "photo.webp"
    PICTURE.save(path, xmp=b"<not closed")
    assert embedded_text(path) is None
