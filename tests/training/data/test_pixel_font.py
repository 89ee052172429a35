import numpy as np
import pytest

from training.data.pixel_font import CHINESE, GLYPHS, LATIN, Face, face_of, letter_grid


@pytest.mark.parametrize(("glyphs", "face"), [(GLYPHS[:62], LATIN), (GLYPHS[62:], CHINESE)])
def test_every_glyph_has_its_own_cells(glyphs: str, face: Face) -> None:
    grids = [letter_grid(letter) for letter in glyphs]
    assert {face_of(letter) for letter in glyphs} == {face}
    assert {grid.shape for grid in grids} == {(face.height, face.width - 1)}
    # The most similar are the letter O and the zero, e and c, and two Chinese characters that differ by a dot.
    cells = np.stack(grids).reshape(len(grids), -1)
    differences = (cells[:, None] != cells[None]).sum(axis=-1)
    assert differences[~np.eye(len(grids), dtype=bool)].min() >= 2


def test_there_are_letters_digits_and_sixty_chinese_characters() -> None:
    assert GLYPHS[:62] == "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    assert len(set(GLYPHS[62:])) == 60


def test_letters_are_separated_by_an_empty_column() -> None:
    grid = letter_grid("HI")
    assert grid.shape == (7, 11)
    assert grid.dtype == np.float32
    assert not grid[:, 5].any()
    assert np.array_equal(grid[:, 6:], letter_grid("I"))


def test_other_characters_are_refused() -> None:
    with pytest.raises(KeyError):
        letter_grid("猫")
    with pytest.raises(KeyError):
        letter_grid("日a")
