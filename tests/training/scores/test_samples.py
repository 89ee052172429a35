from typing import Any, cast

import numpy as np
import pytest

from tests.training.renderers import known_renderer
from training.data.edits import Edit
from training.data.scenes import Scene, draw_scene
from training.scores.evaluate import TWO_THINGS, Renderer, RenderOptions, held_out_scenes
from training.scores.samples import Sample, best_and_typical, sample_sheet, scene_samples

PIXEL = np.zeros((1, 1, 3), np.uint8)


class Blank:
    """A renderer that draws nothing but gray, and leaves edits undone."""

    def render(self, prompt: str, seed: int, options: RenderOptions) -> np.ndarray:
        return draw_scene(Scene("gray"), options.width, options.height)

    def edit(self, edit: Edit, seed: int, options: RenderOptions) -> np.ndarray:
        return draw_scene(edit.sources[0], options.width, options.height)


def test_right_pictures_rank_first_and_the_typical_are_in_the_middle() -> None:
    ranks = [(False, 0.9), (True, 0.5), (False, 0.1), (True, 0.8), (False, 0.2), (False, 0.3)]
    best, typical = best_and_typical([Sample((PIXEL,), "", rank) for rank in ranks], 2)
    assert [sample.rank for sample in best] == [(True, 0.8), (True, 0.5)]
    assert [sample.rank for sample in typical] == [(False, 0.9), (False, 0.3)]


def test_a_sample_is_ranked_by_its_picture() -> None:
    def every_second(scene: Scene, **_: Any) -> np.ndarray:
        return draw_scene(scene if scene in scenes[1::2] else Scene(scene.background), 128, 128)

    scenes = [scene for _, scene in held_out_scenes(TWO_THINGS, 4)]
    found = [sample.rank for sample in scene_samples(known_renderer(TWO_THINGS, every_second), TWO_THINGS, 4)]
    assert found == [(False, 0.0), (True, 1.0)] * 2


@pytest.mark.slow
def test_the_sheet_has_a_row_for_each_kind_and_two_for_edits() -> None:
    sheet = sample_sheet(cast("Renderer", Blank()), 12)
    assert sheet.size == (8 * 136, 5 * 214)
    assert np.asarray(sheet)[:20].min() == 0  # the heading
