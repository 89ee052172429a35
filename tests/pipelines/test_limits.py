import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.limits import MAX_SIDE, MIN_SIDE, SIDE_MULTIPLE, is_side, nearest_side


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
