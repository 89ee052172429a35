import io

import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile, get_sampling

from server.media.encode import Encoding, Format, encode
from server.media.metadata import embedded_text
from tests.fakes import picture
from tests.odd_images import p3_profile, save

IMAGE = Image.open(io.BytesIO(picture(120, 80))).convert("RGB")


@pytest.mark.parametrize(
    ("name", "mime", "extension"),
    [("JPG", "image/jpeg", "jpg"), ("PNG", "image/png", "png"), ("WEBP", "image/webp", "webp")],
)
def test_each_format_opens_again(name: Format, mime: str, extension: str) -> None:
    encoding = Encoding(name, 95)
    data = encode(IMAGE, encoding)
    assert Image.open(io.BytesIO(data)).size == IMAGE.size
    assert (encoding.mime, encoding.extension) == (mime, extension)
    assert Image.MIME[Image.open(io.BytesIO(data)).format or ""] == mime
    assert encode(IMAGE, encoding) == data


def test_png_is_exact() -> None:
    assert Image.open(io.BytesIO(encode(IMAGE, Encoding("PNG", 20)))).tobytes() == IMAGE.tobytes()


@pytest.mark.parametrize(("quality", "halved"), [(89, True), (90, False), (99, False)])
def test_fine_jpegs_keep_the_full_resolution_of_colour(quality: int, halved: bool) -> None:
    opened = Image.open(io.BytesIO(encode(IMAGE, Encoding("JPG", quality))))
    assert isinstance(opened, JpegImageFile)
    assert get_sampling(opened) == (2 if halved else 0)


@pytest.mark.parametrize("name", ["JPG", "WEBP"])
def test_quality_costs_bytes(name: Format) -> None:
    sizes = [len(encode(IMAGE, Encoding(name, quality))) for quality in (20, 60, 99)]
    assert sizes == sorted(sizes)
    assert sizes[0] < sizes[2]


@pytest.mark.parametrize("name", ["JPG", "PNG", "WEBP"])
def test_nothing_of_a_source_file_reaches_the_result(name: Format) -> None:
    exif = Image.Exif()
    exif[0x010E] = "private"
    source = Image.open(io.BytesIO(save(IMAGE, "PNG", icc_profile=p3_profile(), exif=exif)))
    source.load()
    result = Image.open(io.BytesIO(encode(source, Encoding(name, 95))))
    result.load()
    assert not {"icc_profile", "exif", "comment"} & result.info.keys()


@pytest.mark.parametrize("name", ["JPG", "PNG", "WEBP"])
@pytest.mark.parametrize("text", [None, "{}"])
def test_a_block_and_a_profile_that_are_asked_for_are_there(name: Format, text: str | None) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a title"
    exif.get_ifd(0x8769)[0x829A] = 0.5
    data = encode(IMAGE, Encoding(name, 95), text, exif=exif, icc_profile=p3_profile())
    result = Image.open(io.BytesIO(data))
    assert result.getexif()[0x010E] == "a title"
    assert float(result.getexif().get_ifd(0x8769)[0x829A]) == 0.5
    assert result.info["icc_profile"] == p3_profile()
    assert 0x9286 not in exif.get_ifd(0x8769)  # the caller's block stays as it is
    assert embedded_text(io.BytesIO(data)) == text


@pytest.mark.parametrize("name", ["PNG", "WEBP"])
def test_alpha_stays_where_a_format_has_it(name: Format) -> None:
    image = IMAGE.copy()
    image.putalpha(Image.linear_gradient("L").resize(IMAGE.size))
    result = Image.open(io.BytesIO(encode(image, Encoding(name, 95))))
    assert result.getchannel("A").tobytes() == image.getchannel("A").tobytes()
