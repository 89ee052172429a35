import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from benchmarks.step_caches.results import PSNR_OF_EQUALS
from benchmarks.step_caches.similarity import compare


def noisy(seed: int, side: int = 32) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8))


def test_equal_pictures() -> None:
    found = compare(noisy(1), noisy(1))
    assert (found.psnr, found.ssim, found.flip) == (PSNR_OF_EQUALS, 1.0, 0.0)


@pytest.mark.parametrize("difference", [1, 5, 51, 255])
def test_psnr_is_its_formula(difference: int) -> None:
    black, grey = (Image.new("RGB", (16, 16), (level,) * 3) for level in (0, difference))
    assert compare(grey, black).psnr == pytest.approx(20 * math.log10(255 / difference), abs=1e-3)


def flip(image: Image.Image, reference: Image.Image) -> float:
    found = compare(image, reference).flip
    assert found is not None
    return found


def test_ssim_of_plain_pictures_is_its_luminance_term() -> None:
    # Without any variance all that is left is (2ab + C1) / (a² + b² + C1) with C1 = (0.01 · 255)², Wang et al. 2004.
    first, second, c1 = 100.0, 150.0, 2.55**2
    pictures = (Image.new("RGB", (32, 32), (int(level),) * 3) for level in (first, second))
    expected = (2 * first * second + c1) / (first**2 + second**2 + c1)
    assert compare(*pictures).ssim == pytest.approx(expected, abs=1e-4)


def test_flip_of_black_and_white_is_the_greatest() -> None:
    black, white = (Image.new("RGB", (32, 32), colour) for colour in ("black", "white"))
    greatest, gray = flip(black, white), flip(black, Image.new("RGB", (32, 32), "gray"))
    assert greatest == pytest.approx(0.966, abs=0.01)  # NVIDIA's: its map's white is not quite 1
    assert greatest > gray > 0.1


@settings(max_examples=15)
@given(seed=st.integers(0, 2**20), radius=st.floats(0.5, 2.0))
def test_more_blur_is_further_by_every_measure(seed: int, radius: float) -> None:
    sharp = noisy(seed, 48)
    less, more = (sharp.filter(ImageFilter.GaussianBlur(r)) for r in (radius, 2 * radius))
    near, far = compare(less, sharp), compare(more, sharp)
    assert near.psnr > far.psnr
    assert near.ssim > far.ssim
    assert flip(less, sharp) < flip(more, sharp)


def test_pictures_of_two_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(8, 8\) and \(16, 8\) pixels"):
        compare(Image.new("RGB", (8, 8)), Image.new("RGB", (16, 8)))
