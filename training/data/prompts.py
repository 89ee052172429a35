"""The prompts of training samples: captions, instructions or no text, and the template of each.

Knows scenes and edits; knows no tokenizer and no network.
"""

from collections.abc import Iterable

import numpy as np

from pipelines.catalog.catalog import Mode
from training.data.captions import caption_degraded, random_caption
from training.data.edits import Edit
from training.data.scenes import Scene

DEGRADED = (
    0.12  # share of blurred pictures; at 0.05, "blurry" as a negative prompt changed nothing after 400,000 samples
)
_NO_PROMPT = ("", " ")
_DROPPED = 0.1  # share of samples that learn the unconditional prediction
_AS_EDIT = 0.85  # share of edits with one picture that use the template of edit; the rest use edit-plus


def random_prompt(sample: Scene | Edit, degraded: bool, rng: np.random.Generator) -> str:
    """Caption a scene, which may be shown blurred, or return the instruction of an edit."""
    if isinstance(sample, Edit):
        return sample.instruction(rng)
    text = random_caption(sample, rng)
    return caption_degraded(text, rng) if degraded else text


def drop_some(texts: Iterable[str], rng: np.random.Generator) -> list[str]:
    """Replace a tenth of the texts by no prompt."""
    return [_NO_PROMPT[int(rng.integers(2))] if rng.random() < _DROPPED else text for text in texts]


def pick_mode(pictures: int, rng: np.random.Generator) -> Mode:
    """Return the mode whose template samples with a number of pictures use."""
    if pictures == 0:
        return "text_to_image"
    return "edit_plus" if pictures > 1 or rng.random() >= _AS_EDIT else "edit"
