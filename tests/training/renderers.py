"""Renderers whose pictures are known, for the tests of the scores."""

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from training.data.captions import exact_caption
from training.data.random_scenes import Level
from training.scores.evaluate import BLURRY, Renderer, RenderOptions, held_out_scenes

COUNT = 4


def known_renderer(level: Level, draw: Callable[..., np.ndarray]) -> Renderer:
    """A renderer that knows the scene of each prompt of a level, and draws it with a function."""
    scenes = {exact_caption(scene): scene for _, scene in held_out_scenes(level, 2 * COUNT)}

    class Known:
        def render(
            self, prompt: str, seed: int, options: RenderOptions, negative: str | None = None, **adapters: Any
        ) -> np.ndarray:
            scene = scenes[prompt.removesuffix(f", {BLURRY}")]
            return draw(scene, prompt=prompt, negative=negative, **adapters)

    return cast("Renderer", Known())
