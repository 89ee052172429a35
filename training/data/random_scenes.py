"""Draws random scenes of several levels of difficulty.

The result depends on the numpy generator alone. Knows scenes; knows no captions and no network.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from training.data.scenes import (
    COLOURS,
    JITTER,
    PLACES,
    SHAPES,
    SIZES,
    WORD_PLACES,
    Scene,
    Thing,
    Word,
    held_out,
)
from training.data.texts import Kind, random_text

_TRIES = 50
_SLACK = 0.02  # the allowed overlap of two things on neighbouring places, as a share of the shorter side
_WORD_ROOM = {"small": 0.2, "medium": 0.3}  # least distance between a thing's place and the line of the word


@dataclass(frozen=True, slots=True)
class Level:
    """The difficulty of scenes: the shares of one, two and three things, the share with a word, sizes, and texts."""

    things: tuple[float, float, float] = (0.5, 0.35, 0.15)
    words: float = 0.2
    sizes: tuple[str, ...] = ("small", "medium", "large")
    texts: Kind = "capitals"


EASY = Level((1.0, 0.0, 0.0), 0.0, ("large",))
HARD = Level()
# All texts, and three things as often as one.
LITERATE = Level((0.3, 0.4, 0.3), 0.3, texts="all")


def random_scene(rng: np.random.Generator, level: Level = HARD, *, of_held_out: bool = False) -> Scene:
    """Draw a scene from those that are trained on, or from those held out for scoring."""
    while True:
        scene = _candidate(rng, level)
        if scene is not None and held_out(scene) == of_held_out:
            return scene


def random_thing(rng: np.random.Generator, scene: Scene, level: Level = HARD) -> Thing | None:
    """Draw a thing that fits into a scene without touching others, or return None if none was found."""
    colour = _pick(rng, [name for name in COLOURS if name != scene.background])
    return _placed(rng, scene, str(_pick(rng, SHAPES)), colour, level.sizes)


def pick_other(rng: np.random.Generator, choices: Sequence[str], *than: str) -> str:
    """Pick one of the choices that is not in `than`."""
    return _pick(rng, [choice for choice in choices if choice not in than])


def thing_fits(scene: Scene, thing: Thing) -> bool:
    """Whether a thing keeps clear of the other things of a scene and of its word."""
    if scene.word:
        distance = abs(PLACES[scene.word.place][1] - PLACES[thing.place][1])
        if thing.size == "large" or distance < _WORD_ROOM[thing.size]:
            return False
    return all(
        math.dist(PLACES[thing.place], PLACES[there.place])
        > SIZES[thing.size] + SIZES[there.size] + 2 * JITTER - _SLACK
        for there in scene.things
    )


def _candidate(rng: np.random.Generator, level: Level) -> Scene | None:
    background = _pick(rng, list(COLOURS))
    scene = Scene(background)
    count = int(rng.choice(3, p=level.things)) + 1
    if rng.random() < level.words:
        word = Word(random_text(rng, level.texts), pick_other(rng, list(COLOURS), background), _pick(rng, WORD_PLACES))
        scene = Scene(background, (), word)
        count -= 1
    for _ in range(count):
        colour = pick_other(rng, list(COLOURS), background)
        thing = _placed(rng, scene, _pick(rng, SHAPES), colour, level.sizes)
        if thing is None:
            return None
        scene = Scene(background, (*scene.things, thing), scene.word)
    return scene


def _placed(rng: np.random.Generator, scene: Scene, shape: str, colour: str, sizes: Sequence[str]) -> Thing | None:
    for _ in range(_TRIES):
        dx, dy = rng.uniform(-JITTER, JITTER, 2)
        thing = Thing(shape, colour, _pick(rng, sizes), _pick(rng, list(PLACES)), float(dx), float(dy))  # pyright: ignore[reportArgumentType]
        alike = any((there.shape, there.colour) == (shape, colour) for there in scene.things)
        if not alike and thing_fits(scene, thing):
            return thing
    return None


def _pick(rng: np.random.Generator, choices: Sequence[str]) -> str:
    return choices[int(rng.integers(len(choices)))]
