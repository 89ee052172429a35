import io

import pytest
from PIL import Image

from server.errors import MediaError
from server.media.edit_mask import edit_mask


def encoded(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_parts_become_white(mode: str) -> None:
    image = Image.new(mode, (4, 2), (0,) * len(Image.new(mode, (1, 1)).getbands()))
    image.putalpha(Image.frombytes("L", (4, 2), bytes([0, 255, 128, 0] * 2)))
    mask = Image.open(io.BytesIO(edit_mask(encoded(image))))
    assert (mask.mode, list(mask.tobytes())) == ("L", [255, 0, 127, 255] * 2)


def test_a_transparent_colour_is_alpha_too() -> None:
    image = Image.frombytes("P", (2, 1), bytes([0, 1]))
    image.putpalette([255, 0, 0, 0, 255, 0])
    mask = Image.open(io.BytesIO(edit_mask(encoded(image, transparency=1))))
    assert list(mask.tobytes()) == [0, 255]


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_mask_without_alpha_says_nothing(mode: str) -> None:
    with pytest.raises(MediaError, match="has no alpha channel"):
        edit_mask(encoded(Image.new(mode, (2, 2))))
