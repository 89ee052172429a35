"""Scores depend on the measurements, so drawn scenes must be measured exactly, and damaged ones as damaged."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from training.data.edits import KINDS, random_edit
from training.data.random_scenes import random_scene
from training.data.scenes import COLOURS, SHAPES, Scene, Thing, Word, draw_scene, thing_cover
from training.scores.measure import (
    detect_background,
    detect_things,
    foreground_mask,
    hollow_share,
    likeness,
    matches_scene,
    matches_thing,
    read_word,
)
from training.trainers.vae import degrade

LARGE = [pytest.param(size, marks=pytest.mark.slow) for size in ((512, 512), (768, 512))]


@pytest.mark.parametrize("size", [(128, 128), (256, 256), (256, 192), *LARGE])
def test_drawn_scenes_are_read_right(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for _ in range({128: 25, 256: 8}.get(max(size), 2)):
        scene = random_scene(rng, of_held_out=bool(rng.random() < 0.5))
        picture = draw_scene(scene, *size)
        assert matches_scene(picture, scene), scene
        found = detect_things(picture, scene.word)
        assert all(any(matches_thing(seen, thing, with_size=True) for seen in found) for thing in scene.things)


@pytest.mark.parametrize("kind", KINDS)
def test_a_source_does_not_show_the_target(kind: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(4):
        edit = random_edit(rng, kind)  # pyright: ignore[reportArgumentType]
        assert not matches_scene(draw_scene(edit.sources[0], 128, 128), edit.target)
        assert matches_scene(draw_scene(edit.target, 128, 128), edit.target)


@pytest.mark.parametrize("shape", SHAPES)
def test_each_wrong_attribute_is_noticed(shape: str) -> None:
    thing = Thing(shape, "red", "medium", "bottom left")  # pyright: ignore[reportArgumentType]
    scene = Scene("white", (thing,), Word("SUN", "blue", "top"))
    picture = draw_scene(scene, 128, 128)
    other = next(name for name in SHAPES if name != shape)
    for wrong in (
        replace(scene, background="pink"),
        replace(scene, things=(replace(thing, shape=other),)),
        replace(scene, things=(replace(thing, colour="orange"),)),
        replace(scene, things=(replace(thing, place="center"),)),
        replace(scene, things=()),
        replace(scene, word=Word("CUP", "blue", "top")),
    ):
        assert not matches_scene(picture, wrong), wrong


def test_noise_is_no_word_and_blur_is_no_shape() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    assert read_word(noise, "center", "blue") is None
    empty = np.full((128, 128, 3), COLOURS["green"], np.uint8)
    assert (detect_background(empty), detect_things(empty)) == ("green", [])
    cross = Scene("white", (Thing("cross", "black", "small", "center"),))
    blurred = degrade(draw_scene(cross, 128, 128), np.random.default_rng(0))
    assert not any(seen.shape == "cross" for seen in detect_things(blurred))


def test_a_bar_and_blobs_are_no_shapes() -> None:
    bar = draw_scene(Scene("white"), 256, 256)
    bar[60:196, 100:148] = COLOURS["red"]
    (seen,) = detect_things(bar)
    assert (seen.shape, seen.colour) == (None, "red")
    rng = np.random.default_rng(2)
    shapes = []
    for _ in range(20):
        soft = cv2.resize(rng.normal(size=(5, 5)).astype(np.float32), (140, 140), interpolation=cv2.INTER_CUBIC)
        blob = draw_scene(Scene("white"), 256, 256)
        blob[58:198, 58:198][soft > 0.3] = COLOURS["blue"]
        shapes.append(detect_things(blob)[0].shape)
    assert shapes.count(None) >= 15


@pytest.mark.parametrize("shape", ["circle", "square", "triangle"])
def test_outlines_are_told_from_filled_shapes(shape: str) -> None:
    scene = Scene("yellow", (Thing(shape, "blue", "large", "top left"),))  # pyright: ignore[reportArgumentType]
    assert hollow_share(draw_scene(scene, 256, 256)) < 0.03
    assert hollow_share(draw_scene(replace(scene, outlined=True), 256, 256)) > 0.4
    assert ((thing_cover(scene, 0, 256, 256) > 0.5) != foreground_mask(draw_scene(scene, 256, 256))).mean() < 0.005


def test_nothing_is_not_hollow() -> None:
    empty = np.full((64, 64, 3), COLOURS["green"], np.uint8)
    assert hollow_share(empty) == 0
    assert not foreground_mask(empty).any()


def test_likeness_is_the_overlap_of_things_in_their_colours() -> None:
    scene = Scene("white", (Thing("square", "red", "large", "center"),))
    picture = draw_scene(scene, 128, 128)
    assert likeness(picture, scene) == 1
    assert likeness(draw_scene(Scene("white"), 128, 128), scene) == 0
    assert likeness(draw_scene(scene.with_thing(0, colour="blue"), 128, 128), scene) < 0.1
    assert 0.2 < likeness(draw_scene(scene.with_thing(0, size="medium"), 128, 128), scene) < 0.9
