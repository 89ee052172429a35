import string

import numpy as np
import pytest

from training.data.pixel_font import CELL_HEIGHT, CELL_WIDTH, letter_grid


def test_every_letter_has_its_own_cells() -> None:
    grids = [letter_grid(letter) for letter in string.ascii_uppercase]
    assert {grid.shape for grid in grids} == {(CELL_HEIGHT, CELL_WIDTH - 1)}
    assert len({grid.tobytes() for grid in grids}) == 26


def test_letters_are_separated_by_an_empty_column() -> None:
    grid = letter_grid("HI")
    assert grid.shape == (7, 11)
    assert grid.dtype == np.float32
    assert not grid[:, 5].any()
    assert np.array_equal(grid[:, 6:], letter_grid("I"))


def test_other_characters_are_refused() -> None:
    with pytest.raises(KeyError):
        letter_grid("a")
