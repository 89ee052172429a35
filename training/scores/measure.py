"""Measures the content of a picture: background, things with colour, shape, size and place, and the word.

The inverse of `training.data.scenes`: segments into the colours of the palette and compares with drawn templates.
Its result on drawn scenes is always right, which the tests check. Knows pixels; knows no network.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

import cv2
import numpy as np

from training.data.scenes import (
    COLOURS,
    PLACES,
    SHAPES,
    SIZES,
    Scene,
    Shape,
    Thing,
    Word,
    draw_scene,
    thing_cover,
    word_cover,
)
from training.data.texts import WORDS, Kind, choices

_NAMES = list(COLOURS)
# Perceptual distances separate pink from white better than distances in RGB.
_PALETTE = cv2.cvtColor(np.array([list(COLOURS.values())], np.float32) / 255, cv2.COLOR_RGB2LAB)[0]
_LEAST_AREA = 0.004  # of the picture; the smallest shape, a small cross, covers 0.018
_TEMPLATE_SIDE = 48
_LEAST_WORD_IOU = 0.35  # intersection over union of a word and its template
_LEAST_SHAPE_IOU = 0.7  # the same for a shape; drawn shapes have at least 0.75, of a small star at 128 pixels
_LONGEST_ASPECT = 1.6  # of a bounding box; no shape has more than 1.1


@dataclass(frozen=True, slots=True)
class Detection:
    """One connected patch of one colour. `shape` is None if no shape is similar, so that a blob is not a circle."""

    shape: Shape | None
    colour: str
    size: str
    place: str
    area: float


def detect_background(picture: np.ndarray) -> str:
    """Return the colour of most pixels along the edges."""
    labels = _nearest_colours(picture)
    rim = np.concatenate([labels[:4].ravel(), labels[-4:].ravel(), labels[:, :4].ravel(), labels[:, -4:].ravel()])
    return _NAMES[int(np.bincount(rim, minlength=len(_NAMES)).argmax())]


def detect_things(picture: np.ndarray, word: Word | None = None) -> list[Detection]:
    """Return the patches that are not background, largest first. Skips the rows of an expected word."""
    height, width = picture.shape[:2]
    labels = _nearest_colours(picture)
    background = _NAMES.index(detect_background(picture))
    found = []
    for colour, name in enumerate(_NAMES):
        if colour == background:
            continue
        mask = (labels == colour).astype(np.uint8)
        if word is not None:
            mask[_word_rows(word, height)] = 0
        # Mixed colours along an edge may look like a third one: remove patches thinner than three pixels in 256.
        thin = max(1, round(3 * min(width, height) / 256))
        mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((thin, thin), np.uint8))
        count, patches, boxes, _ = cv2.connectedComponentsWithStats(mask)
        for index in range(1, count):
            x, y, w, h, area = boxes[index]
            if area >= _LEAST_AREA * width * height:
                found.append(_detect(patches[y : y + h, x : x + w] == index, (x, y), (width, height), name))
    return sorted(found, key=lambda detection: -detection.area)


def foreground_mask(picture: np.ndarray) -> np.ndarray:
    """Return the mask of pixels that are not background, bool [height, width]."""
    return _nearest_colours(picture) != _NAMES.index(detect_background(picture))


def hollow_share(picture: np.ndarray) -> float:
    """Return the share of background in the convex hull of the foreground, 0 for a filled disc or an empty picture.

    The hull is used, not the outer contour, so that outlines with gaps count as hollow too.
    """
    mask = cv2.morphologyEx(foreground_mask(picture).astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    if not mask.any():
        return 0.0
    hull = cv2.convexHull(cv2.findNonZero(mask))
    return 1 - float(mask.sum()) / float(cv2.fillConvexPoly(np.zeros_like(mask), hull, 1).sum())


def read_word(picture: np.ndarray, place: str, colour: str, texts: Sequence[str] = WORDS) -> str | None:
    """Read the word of a colour at a place. Returns None if nothing there is similar to one of the texts."""
    height, width = picture.shape[:2]
    rows = _word_rows(Word("", colour, place), height)
    mask = (_nearest_colours(picture) == _NAMES.index(colour))[rows]
    iou = {}
    for text in texts:
        template = word_cover(Word(text, colour, place), width, height)[rows] > 0.5
        iou[text] = float((mask & template).sum() / max(1, (mask | template).sum()))
    best = max(iou, key=iou.__getitem__)
    return best if iou[best] >= _LEAST_WORD_IOU else None


def matches_thing(detection: Detection, thing: Thing, *, with_size: bool = False) -> bool:
    """Whether a detection has the shape, colour and place of a thing."""
    right = (detection.shape, detection.colour, detection.place) == (thing.shape, thing.colour, thing.place)
    return right and (not with_size or detection.size == thing.size)


def matches_scene(picture: np.ndarray, scene: Scene, texts: Kind = "capitals") -> bool:
    """Whether a picture shows the background, the word and exactly the things of a scene. Ignores sizes.

    The word is told from the 22 words of the first world, or from all texts that are similar.
    """
    if detect_background(picture) != scene.background:
        return False
    found = detect_things(picture, scene.word)
    if len(found) != len(scene.things) or not all(any(matches_thing(s, t) for s in found) for t in scene.things):
        return False
    word = scene.word
    return word is None or read_word(picture, word.place, word.colour, choices(word.text, texts)) == word.text


def likeness(picture: np.ndarray, scene: Scene) -> float:
    """Return the IoU of what is not background in a picture and in a drawn scene, where both have the same colour."""
    height, width = picture.shape[:2]
    shown, ideal = _nearest_colours(picture), _nearest_colours(draw_scene(scene, width, height))
    background = _NAMES.index(scene.background)
    either = (shown != background) | (ideal != background)
    return float(((shown == ideal) & either).sum() / max(1, either.sum()))


def shape_iou(picture: np.ndarray, thing: Thing) -> float:
    """Return the IoU of a thing, alone in a picture, with its ideal shape and size, moved to where it is shown.

    A caption does not say the exact place, so only the edges count: raggedness, holes, and a wrong size.
    """
    height, width = picture.shape[:2]
    shown = foreground_mask(picture)
    ideal = thing_cover(Scene("", (thing,)), 0, width, height) > 0.5
    if not shown.any():
        return 0.0
    (left, top), (there_left, there_top) = _middle(ideal), _middle(shown)
    found = []
    for right, down in product((-0.5, 0.0, 0.5), repeat=2):  # the middle of a box is known to half a pixel
        dx, dy = (there_left - left + right) / width, (there_top - top + down) / height
        moved = replace(thing, dx=thing.dx + dx, dy=thing.dy + dy)
        ideal = thing_cover(Scene("", (moved,)), 0, width, height) > 0.5
        found.append(float((shown & ideal).sum() / (shown | ideal).sum()))
    return max(found)


def _nearest_colours(picture: np.ndarray) -> np.ndarray:
    """The index of the nearest palette colour at each pixel."""
    lab = cv2.cvtColor(picture.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    planes = [np.ascontiguousarray(lab[..., channel]) for channel in range(3)]  # sums over a short axis take longer
    distances = [
        sum(np.square(plane - value) for plane, value in zip(planes, colour, strict=True)) for colour in _PALETTE
    ]
    return np.argmin(distances, axis=0)


def _middle(mask: np.ndarray) -> tuple[float, float]:
    """The middle of the smallest box around a mask, x and y in pixels."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return float(columns[0] + columns[-1]) / 2, float(rows[0] + rows[-1]) / 2


def _word_rows(word: Word, height: int) -> slice:
    middle = PLACES[word.place][1]
    return slice(max(0, round((middle - 0.14) * height)), round((middle + 0.14) * height))


def _detect(patch: np.ndarray, corner: tuple[int, int], picture: tuple[int, int], colour: str) -> Detection:
    height, width = patch.shape
    shown = cv2.resize(patch.astype(np.float32), (_TEMPLATE_SIDE, _TEMPLATE_SIDE), interpolation=cv2.INTER_AREA) > 0.5
    iou = {shape: float((shown & t).sum() / (shown | t).sum()) for shape, t in _templates().items()}
    nearest = max(SHAPES, key=iou.__getitem__)
    like = iou[nearest] >= _LEAST_SHAPE_IOU and max(width, height) <= _LONGEST_ASPECT * min(width, height)
    x, y = ((start + side / 2) / whole for start, side, whole in zip(corner, (width, height), picture, strict=True))
    place = min(PLACES, key=lambda name: (PLACES[name][0] - x) ** 2 + (PLACES[name][1] - y) ** 2)
    share = float(patch.sum()) / min(picture) ** 2
    size = min(SIZES, key=lambda name: abs(np.log(share / _areas()[nearest, name])))
    return Detection(nearest if like else None, colour, size, place, share)


@cache
def _templates() -> dict[Shape, np.ndarray]:
    """Each shape, cropped to its bounding box and scaled to a square."""
    found: dict[Shape, np.ndarray] = {}
    for shape in SHAPES:
        cover = _cover_of(shape, "large") > 0.5
        rows, columns = np.flatnonzero(cover.any(axis=1)), np.flatnonzero(cover.any(axis=0))
        cut = cover[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)
        found[shape] = cv2.resize(cut, (_TEMPLATE_SIDE, _TEMPLATE_SIDE), interpolation=cv2.INTER_AREA) > 0.5
    return found


@cache
def _areas() -> dict[tuple[str, str], float]:
    return {(str(shape), size): float(_cover_of(shape, size).sum()) / 512**2 for shape in SHAPES for size in SIZES}


def _cover_of(shape: Shape, size: str) -> np.ndarray:
    return thing_cover(Scene("white", (Thing(shape, "black", size, "center"),)), 0, 512, 512)
