"""Synthetic scenes: flat shapes and a word on a plain background, drawn at any size.

A scene determines its picture, so captions, edits and scores need no second model. Knows geometry and colours; knows no
captions and no network.
"""

import zlib
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from training.data.pixel_font import face_of, letter_grid

Shape = Literal["circle", "square", "triangle", "star", "cross", "ring"]
SHAPES: tuple[Shape, ...] = ("circle", "square", "triangle", "star", "cross", "ring")

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 39, 40),
    "orange": (255, 140, 0),
    "yellow": (250, 218, 50),
    "green": (34, 150, 60),
    "blue": (36, 84, 200),
    "purple": (128, 50, 160),
    "pink": (255, 150, 190),
    "black": (20, 20, 20),
    "gray": (135, 135, 135),
    "white": (250, 250, 250),
}

# Radius as a share of the picture's shorter side.
SIZES: dict[str, float] = {"small": 0.10, "medium": 0.15, "large": 0.21}

_NEAR, _FAR = 0.24, 0.76
PLACES: dict[str, tuple[float, float]] = {
    "top left": (_NEAR, _NEAR),
    "top": (0.5, _NEAR),
    "top right": (_FAR, _NEAR),
    "left": (_NEAR, 0.5),
    "center": (0.5, 0.5),
    "right": (_FAR, 0.5),
    "bottom left": (_NEAR, _FAR),
    "bottom": (0.5, _FAR),
    "bottom right": (_FAR, _FAR),
}
WORD_PLACES = ("top", "center", "bottom")

JITTER = 0.025  # the largest offset of a shape from its place, as a share of each side
_HELD_OUT = 8  # one combination in 8 is never trained on
_WORD_WIDTH = 0.82  # share of the picture's width that the longest word may take
_TALLEST_WORD = 0.22


@dataclass(frozen=True, slots=True)
class Thing:
    """One flat shape. `dx`, `dy` are its offset from the place, as shares of the sides of the picture."""

    shape: Shape
    colour: str
    size: str
    place: str
    dx: float = 0.0
    dy: float = 0.0

    @property
    def centre(self) -> tuple[float, float]:
        """The centre, as shares of width and height."""
        x, y = PLACES[self.place]
        return x + self.dx, y + self.dy


@dataclass(frozen=True, slots=True)
class Word:
    """A word in pixel letters: capitals, small letters, digits or Chinese characters."""

    text: str
    colour: str
    place: str


@dataclass(frozen=True, slots=True)
class Scene:
    """The content of a picture. Later things cover earlier ones. `outlined` draws shapes as outlines only."""

    background: str
    things: tuple[Thing, ...] = ()
    word: Word | None = None
    outlined: bool = False

    def with_thing(self, index: int, **changes: str) -> "Scene":
        """Return the scene with one thing changed."""
        things = list(self.things)
        things[index] = replace(things[index], **changes)  # pyright: ignore[reportArgumentType]
        return replace(self, things=tuple(things))


def held_out(scene: Scene) -> bool:
    """Whether a scene has a combination of background, colour and shape or word that is reserved for scoring."""
    combinations = [f"{scene.background}/{thing.colour}/{thing.shape}" for thing in scene.things]
    if scene.word:
        combinations.append(f"{scene.background}/{scene.word.colour}/{scene.word.text}")
    return any(zlib.crc32(text.encode()) % _HELD_OUT == 0 for text in combinations)


def draw_scene(scene: Scene, width: int, height: int) -> np.ndarray:
    """Draw a scene with smooth edges, uint8 [height, width, 3]."""
    picture = np.empty((height, width, 3), np.float32)
    picture[:] = COLOURS[scene.background]
    for index, thing in enumerate(scene.things):
        _paint(picture, thing_cover(scene, index, width, height), thing.colour)
    if scene.word:
        _paint(picture, word_cover(scene.word, width, height), scene.word.colour)
    return (picture + 0.5).astype(np.uint8)


def thing_cover(scene: Scene, index: int, width: int, height: int) -> np.ndarray:
    """Return the share of each pixel that a thing covers, float32 [height, width] in 0…1."""
    thing = scene.things[index]
    side = min(width, height)
    radius = SIZES[thing.size] * side
    x, y = thing.centre
    ys, xs = np.mgrid[0:height, 0:width].astype(np.float32) + 0.5
    distance = _distance(thing.shape, xs - x * width, ys - y * height, radius)
    if scene.outlined:
        distance = np.abs(distance + 0.02 * side) - 0.02 * side
    return np.clip(0.5 - distance, 0.0, 1.0)


def word_cover(word: Word, width: int, height: int) -> np.ndarray:
    """Return the share of each pixel that the word covers, float32 [height, width] in 0…1."""
    cells = letter_grid(word.text)
    rows, columns = cells.shape
    left, top, cell = word_box(word, width, height)
    return _overlap(top, cell, rows, height) @ cells @ _overlap(left, cell, columns, width).T


def letter_at(word: Word, width: int, height: int) -> np.ndarray:
    """Return the index of the letter whose box each pixel is in, −1 for none, int [height, width]."""
    left, top, cell = word_box(word, width, height)
    face = face_of(word.text)
    columns = np.floor((np.arange(width) + 0.5 - left) / (cell * face.width)).astype(int)
    rows = np.floor((np.arange(height) + 0.5 - top) / (cell * face.height)).astype(int)
    columns[columns >= len(word.text)] = -1
    return np.where(rows[:, None] == 0, columns.clip(min=-1)[None], -1)


def word_box(word: Word, width: int, height: int) -> tuple[float, float, float]:
    """Return the left edge, the top edge and the side of a cell of a word, in pixels."""
    face = face_of(word.text)
    cell = min(_WORD_WIDTH * width / (face.longest * face.width), _TALLEST_WORD * height / face.height)
    x, y = PLACES[word.place]
    columns = len(word.text) * face.width - 1
    return x * width - columns * cell / 2, y * height - face.height * cell / 2, cell


def _overlap(start: float, cell: float, cells: int, pixels: int) -> np.ndarray:
    """The share of each pixel that lies in each cell of a row, [pixels, cells]."""
    low = np.arange(pixels, dtype=np.float32)[:, None]
    edges = start + cell * np.arange(cells, dtype=np.float32)[None]
    return np.clip(np.minimum(low + 1, edges + cell) - np.maximum(low, edges), 0.0, 1.0)


def _paint(picture: np.ndarray, cover: np.ndarray, colour: str) -> None:
    picture += cover[..., None] * (np.array(COLOURS[colour], np.float32) - picture)


def _distance(shape: Shape, x: np.ndarray, y: np.ndarray, radius: float) -> np.ndarray:
    """The signed distance in pixels to the edge of a shape, negative inside. It is exact near straight edges."""
    away = np.hypot(x, y)
    if shape == "circle":
        return away - radius
    if shape == "ring":
        return np.abs(away - 0.74 * radius) - 0.26 * radius
    if shape == "square":
        return np.maximum(np.abs(x), np.abs(y)) - 0.86 * radius
    if shape == "cross":
        long, short = np.maximum(np.abs(x), np.abs(y)), np.minimum(np.abs(x), np.abs(y))
        return np.maximum(long - radius, short - 0.33 * radius)
    if shape == "triangle":
        base = y - 0.75 * radius
        sides = 0.894 * np.abs(x) - 0.447 * (y + 1.05 * radius)
        return np.maximum(base, sides)
    return _star(x, y, away, radius)


def _star(x: np.ndarray, y: np.ndarray, away: np.ndarray, radius: float) -> np.ndarray:
    """A five-pointed star: fold the plane into half a point, then take the distance to the line from tip to notch."""
    fifth = 2 * np.pi / 5
    angle = np.abs((np.arctan2(x, -y) + fifth / 2) % fifth - fifth / 2)
    px, py = away * np.sin(angle), away * np.cos(angle)
    outer, inner = 1.05 * radius, 0.45 * radius
    notch_x, notch_y = inner * np.sin(fifth / 2), inner * np.cos(fifth / 2)
    edge_x, edge_y = notch_x, notch_y - outer
    length = np.hypot(edge_x, edge_y)
    return ((py - outer) * edge_x - px * edge_y) / length
