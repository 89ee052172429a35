"""What a picture shows, read by a program: background, things with colour, shape, size and place, and the word.

The inverse of `training.scenes`, by segmentation into the palette's colours and comparison with drawn templates. Knows
pixels; knows no network. On pictures drawn from scenes it reads everything right (the tests hold it to that).
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from training.scenes import COLOURS, PLACES, SHAPES, SIZES, WORDS, Scene, Shape, Thing, Word, thing_cover, word_cover

_NAMES = list(COLOURS)
# Perceptual distances tell pink from white better than RGB ones do.
_PALETTE = cv2.cvtColor(np.array([list(COLOURS.values())], np.float32) / 255, cv2.COLOR_RGB2LAB)[0]
_LEAST_AREA = 0.004  # of the picture; the smallest shape, a small cross, covers 0.018
_TEMPLATE_SIDE = 48
_LEAST_LIKENESS = 0.35  # intersection over union of a word with its template
_LEAST_LIKE_A_SHAPE = 0.7  # the same of a shape; drawn ones have at least 0.75, a small star of 128 pixels' picture
_LONGEST = 1.6  # sides of a bounding box, one over the other; no shape has more than 1.1


@dataclass(frozen=True, slots=True)
class Seen:
    """One connected patch of one colour. `shape` is None where it is like none, so that a blob is not a circle."""

    shape: Shape | None
    colour: str
    size: str
    place: str
    area: float


def background_of(picture: np.ndarray) -> str:
    """The colour of most pixels along the edges."""
    labels = _labels(picture)
    rim = np.concatenate([labels[:4].ravel(), labels[-4:].ravel(), labels[:, :4].ravel(), labels[:, -4:].ravel()])
    return _NAMES[int(np.bincount(rim, minlength=len(_NAMES)).argmax())]


def things_in(picture: np.ndarray, word: Word | None = None) -> list[Seen]:
    """The patches that are not background, largest first; where a word is expected, its line is left out."""
    height, width = picture.shape[:2]
    labels = _labels(picture)
    background = _NAMES.index(background_of(picture))
    found = []
    for colour, name in enumerate(_NAMES):
        if colour == background:
            continue
        mask = (labels == colour).astype(np.uint8)
        if word is not None:
            mask[_line(word, height)] = 0
        # Mixed colours along an edge may look like a third one: take away what is thinner than three pixels in 256.
        thin = max(1, round(3 * min(width, height) / 256))
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((thin, thin), np.uint8))
        count, patches, boxes, _ = cv2.connectedComponentsWithStats(mask)
        for index in range(1, count):
            x, y, w, h, area = boxes[index]
            if area >= _LEAST_AREA * width * height:
                found.append(_seen(patches[y : y + h, x : x + w] == index, (x, y), (width, height), name))
    return sorted(found, key=lambda seen: -seen.area)


def shown_in(picture: np.ndarray) -> np.ndarray:
    """Where a picture shows something rather than background, bool [height, width]."""
    return _labels(picture) != _NAMES.index(background_of(picture))


def hollow_share(picture: np.ndarray) -> float:
    """How much of the convex hull of all that is shown is background: 0 for a filled disc, and for nothing at all.

    Outlines with gaps count as hollow too, which they would not by what their outer contour encloses.
    """
    mask = cv2.morphologyEx(shown_in(picture).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    if not mask.any():
        return 0.0
    hull = cv2.convexHull(cv2.findNonZero(mask))
    return 1 - float(mask.sum()) / float(cv2.fillConvexPoly(np.zeros_like(mask), hull, 1).sum())


def word_in(picture: np.ndarray, place: str, colour: str) -> str | None:
    """The word of that colour at that place, or None when nothing there looks like one."""
    height, width = picture.shape[:2]
    mask = _labels(picture) == _NAMES.index(colour)
    likeness = {}
    for text in WORDS:
        template = word_cover(Word(text, colour, place), width, height) > 0.5
        likeness[text] = float(
            (mask & template).sum() / max(1, (mask | template)[_line(Word(text, colour, place), height)].sum())
        )
    best = max(likeness, key=likeness.__getitem__)
    return best if likeness[best] >= _LEAST_LIKENESS else None


def matches(seen: Seen, thing: Thing, *, with_size: bool = False) -> bool:
    """Whether a patch is what was asked for."""
    right = (seen.shape, seen.colour, seen.place) == (thing.shape, thing.colour, thing.place)
    return right and (not with_size or seen.size == thing.size)


def shows(picture: np.ndarray, scene: Scene) -> bool:
    """Whether a picture shows a scene: background, every thing's shape, colour and place, nothing else, the word."""
    if background_of(picture) != scene.background:
        return False
    found = things_in(picture, scene.word)
    if len(found) != len(scene.things) or not all(any(matches(s, t) for s in found) for t in scene.things):
        return False
    return scene.word is None or word_in(picture, scene.word.place, scene.word.colour) == scene.word.text


def _labels(picture: np.ndarray) -> np.ndarray:
    """The index of the nearest palette colour at each pixel."""
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    return np.square(lab[:, :, None] - _PALETTE).sum(axis=-1).argmin(axis=-1)


def _line(word: Word, height: int) -> slice:
    middle = PLACES[word.place][1]
    return slice(max(0, round((middle - 0.14) * height)), round((middle + 0.14) * height))


def _seen(patch: np.ndarray, corner: tuple[int, int], picture: tuple[int, int], colour: str) -> Seen:
    height, width = patch.shape
    shown = cv2.resize(patch.astype(np.float32), (_TEMPLATE_SIDE, _TEMPLATE_SIDE), interpolation=cv2.INTER_AREA) > 0.5
    likeness = {shape: float((shown & t).sum() / (shown | t).sum()) for shape, t in _templates().items()}
    nearest = max(SHAPES, key=likeness.__getitem__)
    like = likeness[nearest] >= _LEAST_LIKE_A_SHAPE and max(width, height) <= _LONGEST * min(width, height)
    x, y = ((start + side / 2) / whole for start, side, whole in zip(corner, (width, height), picture, strict=True))
    place = min(PLACES, key=lambda name: (PLACES[name][0] - x) ** 2 + (PLACES[name][1] - y) ** 2)
    share = float(patch.sum()) / min(picture) ** 2
    size = min(SIZES, key=lambda name: abs(np.log(share / _areas()[nearest, name])))
    return Seen(nearest if like else None, colour, size, place, share)


@cache
def _templates() -> dict[Shape, np.ndarray]:
    """Each shape, cut to its bounding box and scaled to a square."""
    found: dict[Shape, np.ndarray] = {}
    for shape in SHAPES:
        cover = _alone(shape, "large") > 0.5
        rows, columns = np.flatnonzero(cover.any(axis=1)), np.flatnonzero(cover.any(axis=0))
        cut = cover[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)
        found[shape] = cv2.resize(cut, (_TEMPLATE_SIDE, _TEMPLATE_SIDE), interpolation=cv2.INTER_AREA) > 0.5
    return found


@cache
def _areas() -> dict[tuple[str, str], float]:
    return {(str(shape), size): float(_alone(shape, size).sum()) / 512**2 for shape in SHAPES for size in SIZES}


def _alone(shape: Shape, size: str) -> np.ndarray:
    return thing_cover(Scene("white", (Thing(shape, "black", size, "center"),)), 0, 512, 512)
