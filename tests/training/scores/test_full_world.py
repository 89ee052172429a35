from typing import Any, cast

import numpy as np
import pytest

from training.data.captions import exact_caption
from training.data.edits import Edit
from training.data.scenes import Scene, draw_scene
from training.scores import evaluate
from training.scores.evaluate import Renderer, RenderOptions
from training.scores.full_world import full_scores

SIDE = RenderOptions(width=256, height=256)


class Known:
    """Draws the scene of a caption that `held_out_scenes` gave last, or something else."""

    def __init__(self, draw: Any) -> None:
        self._draw = draw
        self.scenes: dict[str, Scene] = {}

    def render(self, prompt: str, seed: int, options: RenderOptions) -> np.ndarray:
        return draw_scene(self._draw(self.scenes[prompt]), options.width, options.height)

    def edit(self, edit: Edit, seed: int, options: RenderOptions) -> np.ndarray:
        return draw_scene(self._draw(edit.target), options.width, options.height)


def scores(monkeypatch: Any, draw: Any) -> dict[str, dict[str, float]]:
    known, drawn = Known(draw), evaluate.random_scene

    def remember(*args: Any, **options: Any) -> Scene:
        scene = drawn(*args, **options)
        known.scenes |= {exact_caption(scene): scene, exact_caption(scene, "zh"): scene}
        return scene

    monkeypatch.setattr(evaluate, "random_scene", remember)
    return full_scores(cast("Renderer", known), 2, SIDE)


def test_ideal_pictures_have_all_points(monkeypatch: Any) -> None:
    found = scores(monkeypatch, lambda scene: scene)
    assert found.pop("edges")["mean IoU"] > 0.97
    assert {value for row in found.values() for name, value in row.items() if name != "untouched dB"} == {1.0}
    assert {"three things", "word of 120", "word in small letters", "number", "Chinese word"} <= set(found)


@pytest.mark.slow
def test_empty_pictures_have_none(monkeypatch: Any) -> None:
    found = scores(monkeypatch, lambda scene: Scene(scene.background))
    assert found.pop("edges")["mean IoU"] == 0
    for row, name in (("three things", "all attributes"), ("number", "word"), ("two references", "followed")):
        assert found[row][name] == 0
