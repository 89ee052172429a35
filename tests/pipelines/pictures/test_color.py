import io

import numpy as np
import pytest
from PIL import Image

from pipelines.pictures.color import color_problem, to_srgb
from pipelines.pictures.image_files import open_image
from tests.odd_images import (
    BLUE,
    GREEN,
    RED,
    chunk,
    grey_profile,
    in_p3,
    p3_profile,
    save,
    scene,
    srgb_profile,
    with_chunks,
)


def reopened(image: Image.Image, profile: bytes) -> Image.Image:
    return Image.open(io.BytesIO(save(image, "PNG", icc_profile=profile)))


def pixel(image: Image.Image, x: int, y: int) -> list[int]:
    return np.asarray(image)[y, x].tolist()


def test_numbers_of_another_space_become_srgb() -> None:
    converted = to_srgb(reopened(in_p3(scene()), p3_profile()))
    for (x, y), color in (((10, 6), RED), ((38, 6), BLUE), ((4, 28), GREEN)):
        assert pixel(converted, x, y) == pytest.approx(color, abs=2)
    assert converted.info == {}


def test_the_profile_of_srgb_changes_nothing() -> None:
    assert to_srgb(reopened(scene(), srgb_profile())).tobytes() == scene().tobytes()


def test_alpha_is_kept_as_it_is() -> None:
    image = in_p3(scene())
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    assert to_srgb(reopened(image, p3_profile())).getchannel("A").tobytes() == image.getchannel("A").tobytes()


def test_grey_is_read_through_a_grey_profile() -> None:
    grey = to_srgb(reopened(Image.new("L", (1, 1), 93), grey_profile()))
    assert pixel(grey, 0, 0) == pytest.approx([93, 93, 93], abs=2)  # gamma 2.2 and sRGB's curve are close
    assert grey.mode == "RGB"


@pytest.mark.parametrize(
    ("profile", "problem"),
    [
        (b"no profile at all", "is damaged"),
        (p3_profile()[:200], "is damaged"),
        (grey_profile(), "is made for L images, and this one is RGB"),
    ],
)
def test_a_profile_that_cannot_be_used_counts_as_none_and_is_told(profile: bytes, problem: str) -> None:
    image = reopened(scene(), profile)
    assert color_problem(image) == problem
    assert to_srgb(image).tobytes() == scene().tobytes()


@pytest.mark.parametrize("profile", [p3_profile(), srgb_profile()])
def test_a_good_profile_is_no_problem(profile: bytes) -> None:
    assert color_problem(reopened(scene(), profile)) is None


def test_no_profile_is_no_problem() -> None:
    assert color_problem(scene()) is None


def with_codes(image: Image.Image, *codes: int, **options: object) -> bytes:
    return with_chunks(save(image, "PNG", **options), chunk(b"cICP", bytes((*codes, 0, 1))))


@pytest.mark.parametrize("image_format", ["PNG", "HEIF", "AVIF"])
def test_code_points_are_read_like_the_profile_of_the_same_space(image_format: str) -> None:
    with_profile = to_srgb(reopened(in_p3(scene()), p3_profile()))
    if image_format == "PNG":
        data = with_codes(in_p3(scene()), 12, 4)
    else:
        data = save(Image.fromarray(np.asarray(in_p3(scene()))), image_format, quality=95)
        place = data.index(b"colrnclx") + 8
        data = data[:place] + bytes((0, 12, 0, 4)) + data[place + 4 :]
    with open_image(data) as image:
        assert color_problem(image) is None
        found = to_srgb(image)
    difference = np.abs(np.asarray(found, np.int16) - np.asarray(with_profile, np.int16))
    assert np.median(difference) <= 3  # AVIF and HEIF store rounded luma and chroma
    assert found.info == {}


def test_code_points_go_before_a_profile_in_a_png() -> None:
    with open_image(with_codes(scene(), 1, 13, icc_profile=p3_profile())) as image:
        assert to_srgb(image).tobytes() == scene().tobytes()


def test_code_points_that_cannot_be_used_are_told() -> None:
    with open_image(with_codes(scene(), 9, 16)) as image:
        assert color_problem(image) == "has the high dynamic range of PQ"
        assert to_srgb(image).tobytes() == scene().tobytes()


def test_a_grey_image_with_code_points_stays_grey() -> None:
    with open_image(with_codes(Image.new("L", (1, 1), 93), 12, 4)) as image:
        red, green, blue = pixel(to_srgb(image), 0, 0)
    assert (red, green, blue) == pytest.approx((93, 93, 93), abs=2)
