"""The likeness of two pictures in the browser is that of the server's benchmarks."""

import base64
import io
import random

import pytest
from PIL import Image, ImageDraw, ImageFilter
from playwright.sync_api import Page

from benchmarks.step_caches.similarity import compare
from tests.browser.forms import module

pytestmark = pytest.mark.browser
MEASURE = """async ([path, one, other]) => {
    const { likeness, pixelsOf } = await import(path);
    const read = async (text) => pixelsOf(new Blob([Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0))]));
    return likeness(await read(one), await read(other));
}"""


def drawing(seed: int, size: tuple[int, int]) -> Image.Image:
    """A picture with edges, areas and noise."""
    dice = random.Random(seed)
    image = Image.new("RGB", size, (90, 120, 160))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        left, top = (dice.randrange(side) for side in size)
        color = (dice.randrange(256), dice.randrange(256), dice.randrange(256))
        draw.ellipse((left, top, left + dice.randrange(9, 60), top + dice.randrange(9, 60)), fill=color)
    return Image.blend(image, Image.effect_noise(size, 60).convert("RGB"), 0.1)


def encoded(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


@pytest.mark.parametrize("size", [(128, 128), (97, 203), (11, 11)])
def test_it_is_that_of_python(make: Page, size: tuple[int, int]) -> None:
    image = drawing(1, size)
    for other in (image.filter(ImageFilter.GaussianBlur(1)), drawing(2, size), image):
        found, expected = (
            make.evaluate(MEASURE, [module(make, "likeness.js"), encoded(other), encoded(image)]),
            compare(other, image),
        )
        assert found["ssim"] == pytest.approx(expected.ssim, abs=2e-5)
        assert found["psnr"] == pytest.approx(expected.psnr, abs=2e-3)


def test_two_sizes_cannot_be_compared(make: Page) -> None:
    refused = make.evaluate(
        f"async (all) => ({MEASURE})(all).catch((error) => error.name)",
        [module(make, "likeness.js"), encoded(drawing(1, (32, 32))), encoded(drawing(1, (32, 48)))],
    )
    assert refused == "RangeError"
