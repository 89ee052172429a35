import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.limits import MAX_SIDE, MIN_SIDE, SIDE_MULTIPLE, is_side, nearest_side, same_aspect, size_like


@pytest.mark.parametrize("pixels", [128, 144, 1024, 2048])
def test_legal_sides(pixels: int) -> None:
    assert is_side(pixels)
    assert nearest_side(pixels) == pixels


@pytest.mark.parametrize("pixels", [0, 16, 112, 130, 2047, 2064])
def test_illegal_sides(pixels: int) -> None:
    assert not is_side(pixels)


@given(st.floats(0, 10_000))
def test_the_nearest_side_is_legal_and_near(pixels: float) -> None:
    side = nearest_side(pixels)
    assert is_side(side)
    assert abs(side - min(MAX_SIDE, max(MIN_SIDE, pixels))) <= SIDE_MULTIPLE / 2


@given(st.integers(1, 20_000), st.integers(1, 20_000))
def test_any_size_has_a_legal_one_of_its_aspect(width: int, height: int) -> None:
    new_width, new_height = size_like(width, height, 1024 * 1024)
    for side in (new_width, new_height):
        assert 128 <= side <= 2048
        assert side % 16 == 0
    if 1 / 3 < width / height < 3:
        assert math.isclose(new_width / new_height, width / height, rel_tol=0.03)
        assert math.isclose(new_width * new_height, 1024 * 1024, rel_tol=0.03)


@given(st.integers(16, 2048), st.integers(16, 2048), st.integers(2, 9))
def test_a_scaled_copy_has_the_same_aspect(width: int, height: int, factor: int) -> None:
    assert same_aspect(width, height, factor * width, factor * height)
    assert not same_aspect(width, height, width, 2 * height)
