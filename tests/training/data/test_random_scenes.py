import numpy as np
import pytest

from training.data.random_scenes import EASY, HARD, Level, random_scene, thing_fits
from training.data.scenes import held_out


def scenes(seed: int, level: Level, count: int = 200, *, of_held_out: bool = False) -> list[object]:
    rng = np.random.default_rng(seed)
    return [random_scene(rng, level, of_held_out=of_held_out) for _ in range(count)]


def test_a_seed_decides_everything() -> None:
    assert scenes(1, HARD) == scenes(1, HARD)
    assert scenes(1, HARD) != scenes(2, HARD)


def test_easy_scenes_show_one_large_thing() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        (thing,) = random_scene(rng, EASY).things
        assert thing.size == "large"


@pytest.mark.parametrize("of_held_out", [False, True])
def test_scenes_for_training_and_scoring_never_mix(of_held_out: bool) -> None:
    rng = np.random.default_rng(0)
    assert all(held_out(random_scene(rng, HARD, of_held_out=of_held_out)) == of_held_out for _ in range(100))


def test_things_differ_and_keep_apart() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        scene = random_scene(rng, HARD)
        assert len({(thing.shape, thing.colour) for thing in scene.things}) == len(scene.things)
        assert scene.background not in {thing.colour for thing in scene.things}
        for index, thing in enumerate(scene.things):
            before = type(scene)(scene.background, scene.things[:index], scene.word)
            assert thing_fits(before, thing)
