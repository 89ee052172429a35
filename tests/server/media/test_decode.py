import contextlib
import io
import struct
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from server.errors import MediaError
from server.media.decode import Picture, check_picture
from tests.fakes import picture

LIMIT = 64_000_000


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it is huge and has hardly any data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


def saved(image: Image.Image, image_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, image_format, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("image_format", "mime", "extension"),
    [
        ("PNG", "png", "png"),
        ("JPEG", "jpeg", "jpg"),
        ("WEBP", "webp", "webp"),
        ("BMP", "bmp", "bmp"),
        ("GIF", "gif", "gif"),
    ],
)
def test_accepted_formats(image_format: str, mime: str, extension: str) -> None:
    found = check_picture(picture(40, 30, image_format), LIMIT)
    assert found == Picture(f"image/{mime}", extension, 40, 30)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_modes(mode: str) -> None:
    image_format = "JPEG" if mode == "CMYK" else "PNG"
    image = Image.new("RGB", (9, 7)).convert(mode) if mode != "I;16" else Image.new("I;16", (9, 7))
    assert check_picture(saved(image, image_format), LIMIT).width == 9


def test_size_is_as_shown() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # lying on its side
    data = saved(Image.new("RGB", (40, 30)), "JPEG", exif=exif)
    found = check_picture(data, LIMIT)
    assert (found.width, found.height) == (30, 40)


def test_a_bomb_is_refused_by_its_header() -> None:
    started = time.perf_counter()
    with pytest.raises(MediaError, match="too large, the limit is 64 million pixels"):
        check_picture(png_header(50_000, 50_000), LIMIT)
    with pytest.raises(MediaError, match="9000×8000, the limit is 64 million pixels"):
        check_picture(png_header(9000, 8000), LIMIT)
    assert time.perf_counter() - started < 0.1


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncated_pictures(image_format: str, share: float) -> None:
    data = picture(200, 160, image_format)
    with pytest.raises(MediaError):
        check_picture(data[: int(len(data) * share)], LIMIT)


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7", b"\x89PNG\r\n\x1a\n"]
)
def test_what_is_no_picture(data: bytes) -> None:
    with pytest.raises(MediaError):
        check_picture(data, LIMIT)


def test_other_formats_are_not_even_opened() -> None:
    with pytest.raises(MediaError, match="PNG, JPG, WEBP, BMP or GIF"):
        check_picture(saved(Image.new("RGB", (4, 4)), "TIFF"), LIMIT)


@given(st.data())
def test_damage_never_gets_out_as_anything_else(data: st.DataObject) -> None:
    original = picture(24, 16, data.draw(st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP"])))
    damaged = bytearray(original)
    for position in data.draw(st.lists(st.integers(0, len(original) - 1), max_size=6)):
        damaged[position] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MediaError):
        assert check_picture(bytes(damaged), LIMIT).mime.startswith("image/")
