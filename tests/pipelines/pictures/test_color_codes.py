import numpy as np
import pytest
from PIL import Image

from pipelines.pictures.color_codes import ColorCodes, codes_to_srgb


def converted(color: tuple[int, int, int], codes: ColorCodes) -> list[int]:
    return np.asarray(codes_to_srgb(Image.new("RGB", (1, 600), color), codes))[-1, 0].tolist()


@pytest.mark.parametrize("codes", [ColorCodes(1, 13), ColorCodes(2, 2), ColorCodes(1, 2)])
def test_srgb_and_nothing_said_change_nothing(codes: ColorCodes) -> None:
    assert codes.is_srgb
    image = Image.effect_noise((8, 8), 60).convert("RGB")
    assert codes_to_srgb(image, codes) is image


@pytest.mark.parametrize("primaries", [1, 5, 6, 9, 12])
@pytest.mark.parametrize("transfer", [1, 4, 5, 6, 8, 13, 14, 15])
def test_white_and_black_stay(primaries: int, transfer: int) -> None:
    codes = ColorCodes(primaries, transfer)
    assert codes.problem is None
    assert converted((255, 255, 255), codes) == pytest.approx([255] * 3, abs=1)
    assert converted((0, 0, 0), codes) == [0, 0, 0]


def test_a_color_of_a_wider_space_becomes_stronger() -> None:
    # Known value: Display P3 (0.8, 0.4, 0.3) with the curve of sRGB is about sRGB (0.8648, 0.3725, 0.2626).
    assert converted((204, 102, 77), ColorCodes(12, 13)) == pytest.approx([221, 95, 67], abs=2)


def test_linear_light_is_encoded() -> None:
    assert converted((55, 55, 55), ColorCodes(1, 8)) == pytest.approx([128] * 3, abs=1)  # 21.6 % of light is mid grey


@pytest.mark.parametrize(
    ("codes", "problem"),
    [
        (ColorCodes(9, 16), "has the high dynamic range of PQ"),
        (ColorCodes(9, 18), "has the high dynamic range of HLG"),
        (ColorCodes(99, 13), "has unknown code points (99, 13)"),
        (ColorCodes(1, 99), "has unknown code points (1, 99)"),
    ],
)
def test_codes_that_cannot_be_used_leave_the_image(codes: ColorCodes, problem: str) -> None:
    assert codes.problem == problem
    assert converted((204, 102, 77), codes) == [204, 102, 77]
