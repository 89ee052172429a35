import contextlib
import io
import struct
import sys
import warnings
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageStat, PngImagePlugin

from pipelines.pictures.image_files import COLOR_PROBLEM
from pipelines.pictures.reader import PictureReader
from pipelines.request import Reference
from server.errors import MediaError
from server.media.decoding.decode import (
    MAX_SCANS,
    Picture,
    check_picture,
    count_scans,
    rewrite_picture,
    shrink_picture,
)
from tests.fakes import picture
from tests.odd_images import SIZE, OddImage, p3_profile, png_16, shows_scene, with_empty_scans

LIMIT = 64_000_000


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it is huge and has hardly any data."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 64)) + chunk(b"IEND", b"")


def webp_header(width: int, height: int) -> bytes:
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + sides
    return b"RIFF" + struct.pack("<I", len(body)) + body


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
        ("TIFF", "tiff", "tiff"),
        ("AVIF", "avif", "avif"),
        ("HEIF", "heic", "heic"),
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
    """There is nothing behind the header: decoding it would end in another error."""
    with pytest.raises(MediaError, match="too large: 2,500 million pixels, the limit is 64 million pixels"):
        check_picture(png_header(50_000, 50_000), LIMIT)
    with pytest.raises(MediaError, match="too large: 2,500 million pixels, the limit is 64 million pixels"):
        check_picture(webp_header(50_000, 50_000), LIMIT)
    with pytest.raises(MediaError, match="9000×8000, the limit is 64 million pixels"):
        check_picture(png_header(9000, 8000), LIMIT)


def test_a_first_frame_that_is_larger_than_its_gif_counts() -> None:
    head = b"GIF89a" + struct.pack("<HHBBB", 10, 10, 0x80, 0, 0) + bytes(6)
    data = head + b"," + struct.pack("<HHHHB", 0, 0, 9000, 8000, 0) + b"\2\2\x44\1\0;"
    with pytest.raises(MediaError, match="9000×8000"):
        check_picture(data, LIMIT)


@pytest.mark.parametrize("size", [(1, 1), (20_000, 1), (1, 20_000)])
def test_odd_shapes(size: tuple[int, int]) -> None:
    found = check_picture(saved(Image.new("RGB", size), "PNG"), LIMIT)
    assert (found.width, found.height) == size


@pytest.mark.parametrize(
    ("image_format", "mime"), [("GIF", "image/gif"), ("WEBP", "image/webp"), ("MPO", "image/jpeg")]
)
def test_of_several_pictures_the_first_counts(image_format: str, mime: str) -> None:
    first, second = Image.effect_noise((40, 30), 50).convert("RGB"), Image.new("RGB", (40, 30), "red")
    data = saved(first, image_format, save_all=True, append_images=[second])
    found = check_picture(data, LIMIT)
    assert (found.mime, found.width, found.height) == (mime, 40, 30)


@pytest.mark.parametrize("image_format", ["JPEG", "WEBP", "PNG"])
@pytest.mark.parametrize("block", [b"Exif\0\0MM\0*\0\0\0\xff", b"Exif\0\0no such thing"])
def test_a_corrupt_exif_block_is_no_reason_to_refuse(image_format: str, block: bytes) -> None:
    data = saved(Image.new("RGB", (40, 30)), image_format, exif=block)
    assert check_picture(data, LIMIT).width == 40


def test_threads_leave_the_warning_filters_as_they_were() -> None:
    data = saved(Image.new("RGB", (40, 30)), "JPEG")
    before, interval = list(warnings.filters), sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(6) as threads:
            list(threads.map(lambda _: check_picture(data, LIMIT), range(300)))
    finally:
        sys.setswitchinterval(interval)
    assert warnings.filters == before


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
    with pytest.raises(MediaError, match="PNG, JPG, WEBP, AVIF, HEIC, TIFF, BMP or GIF"):
        check_picture(saved(Image.new("RGB", (4, 4)), "PPM"), LIMIT)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_samples_of_32_bits_are_refused_for_what_they_are(mode: str) -> None:
    with pytest.raises(MediaError, match="samples of 32 bits"):
        check_picture(saved(Image.new(mode, (4, 4)), "TIFF"), LIMIT)


@pytest.mark.parametrize("odd", [pytest.param(odd, id=odd.name) for odd in shows_scene()])
def test_an_odd_file_is_accepted_at_the_size_that_it_shows(odd: OddImage) -> None:
    found = check_picture(odd.data, LIMIT)
    assert (found.width, found.height) == SIZE


def test_a_progressive_jpeg_of_many_scans_is_refused_before_it_is_decoded() -> None:
    honest = saved(Image.effect_noise((64, 64), 90), "JPEG", progressive=True)
    assert check_picture(honest, LIMIT).width == 64
    scans = count_scans(honest)
    hostile = with_empty_scans(honest, MAX_SCANS + 1 - scans)
    assert count_scans(hostile) == MAX_SCANS + 1
    with pytest.raises(MediaError, match="more than 100 scans: 101"):
        check_picture(hostile, LIMIT)


def test_the_preview_and_what_follows_a_jpeg_have_scans_of_their_own() -> None:
    exif = Image.Exif()
    exif[0x010E] = "\xff\xda" * 200
    plain = saved(Image.new("RGB", (8, 8)), "JPEG")
    framed = saved(Image.new("RGB", (8, 8)), "JPEG", exif=exif) + plain * 200
    assert count_scans(plain) == count_scans(framed) == 1
    assert check_picture(framed, LIMIT).width == 8


def odd_files() -> Iterator[OddImage]:
    """Files of every kind: those that viewers show, and those with something that is missing or cannot be used."""
    yield from shows_scene()
    yield OddImage("transparent colors", png_16(key=True))
    yield OddImage("a transparent grey", png_16(grey=True, key=True))
    half = Image.new("RGBA", (9, 7), (200, 0, 0, 128))
    yield OddImage("half transparent", saved(half, "PNG"))
    yield OddImage("half transparent in P3", saved(half, "PNG", icc_profile=p3_profile()))
    yield OddImage("half transparent grey", saved(half.convert("LA"), "PNG"))
    palette = saved(half.convert("RGB").quantize(4), "PNG", transparency=0)
    yield OddImage("a transparent entry", palette)


@pytest.mark.parametrize("odd", [pytest.param(odd, id=odd.name) for odd in odd_files()])
def test_what_is_written_anew_is_read_as_the_file_that_was_sent(tmp_path: Path, odd: OddImage) -> None:
    """Bit for bit as a picture and as a mask, with the same warnings."""
    sent, new = tmp_path / "sent", tmp_path / "new"
    sent.write_bytes(odd.data)
    found = rewrite_picture(odd.data, LIMIT, new)
    before, after = PictureReader(), PictureReader()
    references = [Reference(path, "", 1, 1) for path in (sent, new)]
    shown = [reader.image(file, "a") for reader, file in zip((before, after), references, strict=True)]
    masks = [reader.mask(file, "a") for reader, file in zip((before, after), references, strict=True)]
    assert shown[0].tobytes() == shown[1].tobytes()
    assert (masks[0] == masks[1]).all()
    assert before.warnings == after.warnings
    assert found == Picture("image/png", "png", *shown[0].size)


def test_nothing_but_pixels_is_written_anew(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a secret place"
    path = tmp_path / "new"
    rewrite_picture(saved(Image.new("RGB", (8, 8)), "JPEG", exif=exif, icc_profile=p3_profile()), LIMIT, path)
    with Image.open(path) as image:
        image.load()
        assert image.info == {}


def test_a_text_of_a_stranger_is_no_warning(tmp_path: Path) -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text(COLOR_PROBLEM, "was bought from Mallory")
    rewrite_picture(saved(Image.new("RGB", (8, 8)), "PNG", pnginfo=texts), LIMIT, tmp_path / "new")
    reader = PictureReader()
    reader.image(Reference(tmp_path / "new", "", 8, 8), "picture")
    assert reader.warnings == []


def test_a_disk_without_room_is_no_fault_of_the_picture() -> None:
    with pytest.raises(OSError, match="No space left"):
        rewrite_picture(picture(600, 600), LIMIT, Path("/dev/full"))


@given(
    st.binary(max_size=300), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"BM", b"RIFF"])
)
def test_random_bytes_are_refused(data: bytes, magic: bytes) -> None:
    with contextlib.suppress(MediaError):
        assert check_picture(magic + data, 10_000).mime.startswith("image/")


@given(st.data())
def test_damage_never_gets_out_as_anything_else(data: st.DataObject) -> None:
    original = picture(24, 16, data.draw(st.sampled_from(["PNG", "JPEG", "WEBP", "GIF", "BMP"])))
    damaged = bytearray(original)
    for position in data.draw(st.lists(st.integers(0, len(original) - 1), max_size=6)):
        damaged[position] = data.draw(st.integers(0, 255))
    with contextlib.suppress(MediaError):
        assert check_picture(bytes(damaged), LIMIT).mime.startswith("image/")


@pytest.mark.parametrize("image_format", ["PNG", "JPEG", "WEBP"])
def test_a_smaller_copy_shows_the_same(tmp_path: Path, image_format: str) -> None:
    data = picture(900, 600, image_format)
    assert shrink_picture(data, LIMIT, tmp_path / "small", 90) == Picture("image/webp", "webp", 90, 60)
    with Image.open(tmp_path / "small") as small, Image.open(io.BytesIO(data)) as whole:
        expected = whole.convert("RGB").resize((90, 60), Image.Resampling.LANCZOS)
        difference = ImageChops.difference(small.convert("RGB"), expected)
        assert sum(ImageStat.Stat(difference).mean) / 3 < 4


def test_a_small_picture_is_not_enlarged(tmp_path: Path) -> None:
    assert shrink_picture(picture(40, 30), LIMIT, tmp_path / "small", 90) == Picture("image/webp", "webp", 40, 30)


def test_a_smaller_copy_is_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    with Image.open(io.BytesIO(picture(900, 600))) as image:
        data = saved(image, "JPEG", exif=exif)
    assert shrink_picture(data, LIMIT, tmp_path / "small", 90) == Picture("image/webp", "webp", 60, 90)


def test_the_limits_of_a_jpeg_are_those_of_its_whole_size(tmp_path: Path) -> None:
    pixels: list[int] = []
    shrink_picture(picture(900, 600, "JPEG"), LIMIT, tmp_path / "small", 90, pixels.append)
    assert pixels == [900 * 600]
