"""Scenes as small arrays, which go from a worker process to the device that draws them.

Knows scenes and numpy; knows no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.data.pixel_font import CHINESE, GLYPHS, LATIN, face_of, letter_grid
from training.data.scenes import COLOURS, SHAPES, SIZES, Scene, word_box

THINGS = 3
ROWS = CHINESE.height
COLUMNS = max(face.longest * face.width for face in (LATIN, CHINESE))
LETTERS = max(LATIN.longest, CHINESE.longest)
_COLOUR = {name: number for number, name in enumerate(COLOURS)}


@dataclass(frozen=True, slots=True)
class SceneArrays:
    """N scenes, float32 and int64, and bytes for the cells.

    `background` [N] and `colours` [N, 3] are numbers of colours, `shapes` [N, 3] numbers of shapes, −1 for no thing.
    `places` [N, 3, 3] are the centres as shares of width and height, and the radius as a share of the shorter side.
    `cells` [N, rows, columns] are the cells of the word, `letters` [N, 5] the numbers of its glyphs from 1, 0 for none.
    `boxes` [N, 5] are the left edge, the top edge and the side of a cell as shares of the width, and the width and
    height of a glyph in cells. They hold for pictures of one aspect.
    """

    background: np.ndarray
    shapes: np.ndarray
    colours: np.ndarray
    places: np.ndarray
    cells: np.ndarray
    letters: np.ndarray
    boxes: np.ndarray
    word_colours: np.ndarray


def scene_arrays(scenes: Sequence[Scene], width: int, height: int) -> SceneArrays:
    """Return the arrays of scenes for pictures of an aspect."""
    count = len(scenes)
    arrays = SceneArrays(
        background=np.array([_COLOUR[scene.background] for scene in scenes]),
        shapes=np.full((count, THINGS), -1),
        colours=np.zeros((count, THINGS), int),
        places=np.ones((count, THINGS, 3), np.float32),
        cells=np.zeros((count, ROWS, COLUMNS), np.uint8),
        letters=np.zeros((count, LETTERS), int),
        boxes=np.ones((count, 5), np.float32),
        word_colours=np.zeros(count, int),
    )
    for row, scene in enumerate(scenes):
        for column, thing in enumerate(scene.things):
            arrays.shapes[row, column] = SHAPES.index(thing.shape)
            arrays.colours[row, column] = _COLOUR[thing.colour]
            arrays.places[row, column] = (*thing.centre, SIZES[thing.size])
        if scene.word:
            face, cells = face_of(scene.word.text), letter_grid(scene.word.text)
            arrays.cells[row, : cells.shape[0], : cells.shape[1]] = cells
            numbers = [GLYPHS.index(letter) + 1 for letter in scene.word.text]
            arrays.letters[row, : len(numbers)] = numbers
            box = [value / width for value in word_box(scene.word, width, height)]
            arrays.boxes[row] = (*box, face.width, face.height)
            arrays.word_colours[row] = _COLOUR[scene.word.colour]
    return arrays
