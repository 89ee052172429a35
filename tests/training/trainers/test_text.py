"""Prompts are encoded for training exactly as they are for rendering."""

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.catalog.catalog import Mode
from pipelines.catalog.models_file import load_catalog
from pipelines.conditioning import EncodedReferences, encode_prompt
from pipelines.models.checkpoint import Checkpoint, LoadedModel
from training.data.scenes import Scene, Thing, draw_scene
from training.trainers.dataset import encode_vision
from training.trainers.text import encode_texts

TEXTS = ["a red circle", "make the blue star yellow, and 黄色 too"]
SCENES = [Scene("red", (Thing("star", "blue", "large", "left"),)), Scene("white")]


@pytest.mark.parametrize(("mode", "pictures"), [("text_to_image", 0), ("edit", 1), ("edit_plus", 1), ("edit_plus", 2)])
@pytest.mark.parametrize(("rows", "columns", "grid"), [(8, 8, (4, 4)), (6, 10, (2, 4)), (10, 6, (4, 2))])
@torch.inference_mode()
def test_equal_states(
    trained: Checkpoint, mode: Mode, pictures: int, rows: int, columns: int, grid: tuple[int, int]
) -> None:
    drawn = [draw_scene(scene, 16 * columns, 16 * rows) for scene in SCENES[:pictures]]
    vision = torch.empty(1, 0, 0, 128)
    if drawn:
        vision = encode_vision(drawn, trained.text_encoder).unsqueeze(0)
    states, mask = encode_texts(
        TEXTS, mode, vision.expand(len(TEXTS), -1, -1, -1), grid, trained.text_encoder, trained.tokenizer
    )
    entry = next(entry for entry in load_catalog().entries if entry.mode == mode)
    shown = tuple(Image.fromarray(np.asarray(picture)) for picture in drawn)
    references = EncodedReferences(torch.empty(0), (), shown, key=(pictures, grid)) if drawn else None
    for text, row, there in zip(TEXTS, states, mask, strict=True):
        expected = encode_prompt(text, references, LoadedModel(trained), entry).embeds[0]
        torch.testing.assert_close(row[there], expected, atol=1e-4, rtol=1e-4)
