import pytest

from pipelines.limits import is_side


@pytest.mark.parametrize("pixels", [128, 144, 1024, 2048])
def test_legal_sides(pixels: int) -> None:
    assert is_side(pixels)


@pytest.mark.parametrize("pixels", [0, 16, 112, 130, 2047, 2064])
def test_illegal_sides(pixels: int) -> None:
    assert not is_side(pixels)
