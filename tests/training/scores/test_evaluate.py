"""The scores of renderers whose pictures are known: right pictures score in full, wrong ones not at all."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest

from tests.training.renderers import COUNT, known_renderer
from training.data.edits import Edit
from training.data.random_scenes import Level
from training.data.scenes import Scene, draw_scene
from training.scores import evaluate
from training.scores.evaluate import (
    ONE_THING,
    ONE_WORD,
    TWO_THINGS,
    Renderer,
    RenderOptions,
    sharpness,
)
from training.trainers.vae import degrade

SMALL = RenderOptions(width=128, height=128)


def right(scene: Scene, **_: Any) -> np.ndarray:
    return draw_scene(scene, 128, 128)


def empty(scene: Scene, **_: Any) -> np.ndarray:
    return draw_scene(Scene(scene.background), 128, 128)


SCORES: list[tuple[Level, Callable[..., dict[str, float]]]] = [
    (ONE_THING, evaluate.score_single),
    (TWO_THINGS, evaluate.score_several),
    (ONE_WORD, evaluate.score_words),
]


@pytest.mark.parametrize(("level", "score"), SCORES)
def test_pictures_of_scenes(level: Level, score: Callable[..., dict[str, float]]) -> None:
    assert set(score(known_renderer(level, right), COUNT, SMALL).values()) == {1.0}
    nothing = score(known_renderer(level, empty), COUNT, SMALL)
    assert set(nothing.values()) - {nothing.get("background")} == {0.0}


class TestEdits:
    @pytest.fixture(params=["done", "left as it was"])
    def done(self, request: pytest.FixtureRequest) -> bool:
        return request.param == "done"

    def test_followed_and_kept(self, done: bool) -> None:
        class Editor:
            def edit(self, edit: Edit, seed: int, options: RenderOptions) -> np.ndarray:
                return draw_scene(edit.target if done else edit.sources[0], 128, 128)

        scores = evaluate.score_edits(cast("Renderer", Editor()), 2, SMALL)
        assert scores.pop("untouched dB") == 99.0
        assert set(scores.values()) == {float(done)}


class TestNegative:
    def test_what_it_sharpens(self) -> None:
        def render(scene: Scene, *, prompt: str, negative: str | None, **_: Any) -> np.ndarray:
            picture = draw_scene(scene, 128, 128)
            return picture if negative else degrade(picture, np.random.default_rng(0))

        scores = evaluate.score_negative(known_renderer(ONE_THING, render), COUNT, SMALL)
        assert min(scores.values()) > 2
        assert set(evaluate.score_negative(known_renderer(ONE_THING, right), COUNT, SMALL).values()) == {1.0}

    def test_sharpness_is_that_of_edges(self) -> None:
        ramp = np.clip((np.arange(128) - 60) / 8, 0, 1)
        for contrast in (60, 200):
            picture = np.tile((20 + contrast * ramp)[None, :, None], (128, 1, 3)).astype(np.uint8)
            assert sharpness(picture) == pytest.approx(1 / 8, rel=0.1)
        assert sharpness(np.full((64, 64, 3), 7, np.uint8)) == 1e-3
