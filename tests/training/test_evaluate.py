"""The scores of renderers whose pictures are known: what is drawn right counts in full, and what is not, not at all."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from training import evaluate, evaluate_adapters
from training.captions import exact_caption
from training.edits import Edit
from training.evaluate import (
    BLURRY,
    ONE_THING,
    ONE_WORD,
    TWO_THINGS,
    Renderer,
    RenderOptions,
    held_out_scenes,
    sharpness,
)
from training.random_scenes import Level
from training.scenes import Scene, draw_scene
from training.vae import degrade

COUNT = 4
SMALL = RenderOptions(width=128, height=128)


def renderer(level: Level, render: Callable[..., np.ndarray]) -> Renderer:
    """One that gets to know the scene behind each prompt of a level."""
    scenes = {exact_caption(scene): scene for _, scene in held_out_scenes(level, 2 * COUNT)}

    class Known:
        def render(
            self, prompt: str, seed: int, options: RenderOptions, negative: str | None = None, **add_ons: Any
        ) -> Any:
            scene = scenes[prompt.removesuffix(f", {BLURRY}")]
            return render(scene, prompt=prompt, negative=negative, **add_ons)

    return cast("Renderer", Known())


def right(scene: Scene, **_: Any) -> np.ndarray:
    return draw_scene(scene, 128, 128)


def empty(scene: Scene, **_: Any) -> np.ndarray:
    return draw_scene(Scene(scene.background), 128, 128)


SCORES: list[tuple[Level, Callable[..., dict[str, float]]]] = [
    (ONE_THING, evaluate.score_single),
    (TWO_THINGS, evaluate.score_two),
    (ONE_WORD, evaluate.score_words),
]


@pytest.mark.parametrize(("level", "score"), SCORES)
def test_pictures_of_scenes(level: Level, score: Callable[..., dict[str, float]]) -> None:
    assert set(score(renderer(level, right), COUNT, SMALL).values()) == {1.0}
    nothing = score(renderer(level, empty), COUNT, SMALL)
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

        scores = evaluate.score_negative(renderer(ONE_THING, render), COUNT, SMALL)
        assert min(scores.values()) > 2
        assert set(evaluate.score_negative(renderer(ONE_THING, right), COUNT, SMALL).values()) == {1.0}

    def test_sharpness_is_that_of_edges(self) -> None:
        ramp = np.clip((np.arange(128) - 60) / 8, 0, 1)
        for contrast in (60, 200):
            picture = np.tile((20 + contrast * ramp)[None, :, None], (128, 1, 3)).astype(np.uint8)
            assert sharpness(picture) == pytest.approx(1 / 8, rel=0.1)
        assert sharpness(np.full((64, 64, 3), 7, np.uint8)) == 1e-3


class TestEffects:
    def test_outlines(self) -> None:
        def render(scene: Scene, *, loras: Any, **_: Any) -> np.ndarray:
            return draw_scene(replace(scene, outlined=loras[0].weight > 0), 256, 256)

        scores = evaluate_adapters.score_lora(
            renderer(evaluate_adapters.LARGE, render), Path("outlines"), COUNT, RenderOptions()
        )
        assert scores == {"outlined": 1.0, "outlined at weight 0": 0.0}

    def test_edges(self) -> None:
        def render(scene: Scene, *, controls: Any, **_: Any) -> np.ndarray:
            return draw_scene(scene if controls[0].weight else Scene(scene.background), 256, 256)

        scores = evaluate_adapters.score_controlnet(renderer(ONE_THING, render), Path("edges"), COUNT, RenderOptions())
        assert scores["overlap"] > 0.95
        assert scores["overlap without it"] == 0.0
