from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.renderers import COUNT, known_renderer
from training.data.scenes import Scene, draw_scene
from training.scores.evaluate import ONE_THING, Renderer, RenderOptions
from training.scores.evaluate_adapters import LARGE, contact_sheet, score_controlnet, score_lora


def test_outlines_are_counted() -> None:
    def draw(scene: Scene, *, loras: Any, **_: Any) -> np.ndarray:
        return draw_scene(replace(scene, outlined=loras[0].weight > 0), 256, 256)

    scores = score_lora(known_renderer(LARGE, draw), Path("outlines"), COUNT, RenderOptions())
    assert scores == {"outlined": 1.0, "outlined at weight 0": 0.0}


def test_shapes_are_compared_with_the_control_image() -> None:
    def draw(scene: Scene, *, controls: Any, **_: Any) -> np.ndarray:
        return draw_scene(scene if controls[0].weight else Scene(scene.background), 256, 256)

    scores = score_controlnet(known_renderer(ONE_THING, draw), Path("edges"), COUNT, RenderOptions())
    assert scores["overlap"] > 0.95
    assert scores["overlap without it"] == 0.0


def test_the_contact_sheet_has_five_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    renderer = object.__new__(Renderer)
    monkeypatch.setattr(Renderer, "render", lambda *_, **__: np.zeros((128, 128, 3), np.uint8))
    assert contact_sheet(renderer, Path("weights"), count=2).size == (2 * 132, 5 * 132)
