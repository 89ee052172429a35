import numpy as np
import pytest

from training.data.scenes import COLOURS, SHAPES, Scene, Thing, Word, draw_scene, held_out, thing_cover, word_cover


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_lies_at_its_place_in_its_colour(shape: str) -> None:
    scene = Scene("white", (Thing(shape, "red", "large", "top left"),))  # pyright: ignore[reportArgumentType]
    picture = draw_scene(scene, 128, 128)
    cover = thing_cover(scene, 0, 128, 128) == 1
    rows, columns = np.nonzero(cover)
    assert (picture[cover] == COLOURS["red"]).all()
    assert abs(rows.mean() / 128 - 0.24) < 0.03
    assert abs(columns.mean() / 128 - 0.24) < 0.01
    assert (picture[100:, 100:] == COLOURS["white"]).all()


def test_later_things_lie_above() -> None:
    things = Thing("square", "red", "large", "center"), Thing("circle", "blue", "small", "center")
    assert tuple(draw_scene(Scene("white", things), 64, 64)[32, 32]) == COLOURS["blue"]
    assert tuple(draw_scene(Scene("white", things[::-1]), 64, 64)[32, 32]) == COLOURS["red"]


def test_an_outline_is_hollow() -> None:
    scene = Scene("white", (Thing("square", "red", "large", "center"),), outlined=True)
    assert tuple(draw_scene(scene, 128, 128)[64, 64]) == COLOURS["white"]
    assert (draw_scene(scene, 128, 128) == COLOURS["red"]).all(axis=2).any()


@pytest.mark.parametrize("size", [(128, 128), (160, 96), (1024, 768)])
def test_a_word_stays_inside_and_has_as_much_ink_at_every_size(size: tuple[int, int]) -> None:
    cover = word_cover(Word("HELLO", "black", "bottom"), *size)
    assert cover.max() == pytest.approx(1.0, abs=1e-3)
    assert cover.min() >= 0
    assert cover[:, 0].max() == cover[:, -1].max() == cover[-1].max() == 0


def test_about_an_eighth_of_the_combinations_is_held_out() -> None:
    scenes = [
        Scene(ground, (Thing(shape, colour, "large", "center"),))
        for ground in COLOURS
        for colour in COLOURS
        for shape in SHAPES
    ]
    assert 0.09 < np.mean([held_out(scene) for scene in scenes]) < 0.16
