import numpy as np

from training.data.han_strokes import HAN, SIDE, han_grid


def test_strokes_join_their_points() -> None:
    cells = han_grid("十")
    assert cells.shape == (SIDE, SIDE)
    assert cells[5].all()
    assert cells[:, 6].all()
    assert cells.sum() == 2 * SIDE - 1


def test_every_character_fills_its_square() -> None:
    for character in HAN:
        cells = han_grid(character)
        across = np.flatnonzero(cells.any(axis=0))
        assert across[-1] - across[0] >= 8, character
        assert character == "一" or cells.any(axis=1).sum() >= 2, character
