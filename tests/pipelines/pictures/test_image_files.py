import zlib
from pathlib import Path

import pytest
from PIL import Image, UnidentifiedImageError

from pipelines.pictures.image_files import open_image
from tests.odd_images import chunk, save, scene, with_chunks


def test_from_bytes_and_from_a_file(tmp_path: Path) -> None:
    data = save(scene(), "PNG")
    (tmp_path / "image").write_bytes(data)
    for source in (data, tmp_path / "image"):
        with open_image(source) as image:
            assert image.convert("RGB").tobytes() == scene().tobytes()


def test_text_is_not_read() -> None:
    png = with_chunks(save(scene(), "PNG"), chunk(b"tEXt", b"key\0value"))
    with open_image(png) as image:
        image.load()
        assert "key" not in image.info


def test_a_profile_that_unpacks_to_megabytes_is_left_out() -> None:
    packed = zlib.compress(bytes(3 * 2**20))
    with open_image(with_chunks(save(scene(), "PNG"), chunk(b"iCCP", b"p\0\0" + packed))) as image:
        image.load()
        assert "icc_profile" not in image.info


def test_a_png_that_ends_early_is_still_damaged() -> None:
    with pytest.raises(OSError, match="truncated"), open_image(save(scene(), "PNG")[:-40]) as image:
        image.load()


@pytest.mark.parametrize("image_format", ["PPM", "ICO", "TGA", "PCX"])
def test_other_formats_are_not_even_opened(image_format: str) -> None:
    with pytest.raises(UnidentifiedImageError):
        open_image(save(Image.new("RGB", (16, 16)), image_format))
