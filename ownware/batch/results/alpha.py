"""Gives an edit the transparency of its source where the edit changed nothing.

The model sees transparency on white, and draws no alpha. Knows pictures; knows no task.
"""

import numpy as np
from PIL import Image

from pipelines.editing.drift.unchanged import changed_parts


def keep_alpha(result: Image.Image, source: Image.Image, mask: Image.Image | None = None) -> Image.Image:
    """The result in RGBA: opaque where something was drawn, elsewhere with the source's alpha and colors.

    `source` is an upright RGBA image in sRGB. A `mask` says where something may have been drawn: where it is not black.
    """
    scaled = source.resize(result.size, Image.Resampling.LANCZOS)
    pixels, before = np.asarray(result.convert("RGB")), np.asarray(scaled)
    if mask is None:  # the seam around a change counts as drawn, so that a shadow keeps no hole
        drawn = changed_parts(_on_white(before), pixels) > 0
    else:
        drawn = np.asarray(mask.convert("L").resize(result.size)) > 0
    alpha = np.where(drawn, 255, before[..., 3]).astype(np.uint8)
    see_through = ~drawn & (before[..., 3] < 255)
    colors = np.where(see_through[..., None], before[..., :3], pixels)
    return Image.fromarray(np.dstack((colors, alpha)))


def _on_white(pixels: np.ndarray) -> np.ndarray:
    """What the model sees of RGBA pixels."""
    share = pixels[..., 3:].astype(np.float32) / 255
    return np.rint(pixels[..., :3] * share + 255 * (1 - share)).astype(np.uint8)
