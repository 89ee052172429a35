import numpy as np

from training.data.captions import (
    CHINESE_SHARE,
    LOW_QUALITY,
    caption_degraded,
    exact_caption,
    random_caption,
    to_chinese,
)
from training.data.random_scenes import random_scene
from training.data.scenes import Scene, Thing, Word

SCENE = Scene("blue", (Thing("star", "red", "large", "top left"),), Word("SUN", "white", "bottom"))


def test_the_exact_caption() -> None:
    assert exact_caption(SCENE) == (
        'a large red star at the top left and the word "SUN" in white at the bottom on a blue background'
    )

    assert exact_caption(SCENE, "zh") == '蓝色背景，左上角有一个大红色星形，底部写着白色的"SUN"'


def test_a_caption_names_every_colour_shape_and_word_in_either_language() -> None:
    rng = np.random.default_rng(0)
    in_chinese = 0
    for _ in range(300):
        scene = random_scene(rng)
        text = random_caption(scene, rng).lower()
        translated = to_chinese(scene.background) in text
        in_chinese += translated
        for thing in scene.things:
            for name in (thing.colour, thing.shape):
                assert (to_chinese(name) if translated else name) in text
        if scene.word:
            assert f'"{scene.word.text.lower()}"' in text
    assert abs(in_chinese / 300 - CHINESE_SHARE) < 0.1


def test_phrasings_vary() -> None:
    rng = np.random.default_rng(0)
    assert len({random_caption(SCENE, rng) for _ in range(60)}) > 15


def test_a_degraded_picture_is_called_so() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        text = caption_degraded("a red star", rng)
        assert any(mark in text for mark in LOW_QUALITY.values())
