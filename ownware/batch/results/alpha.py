"""Gives an edit the transparency of its source where the edit changed nothing.

The model sees transparency on white, and draws no alpha. Knows pictures; knows no task.
"""

import cv2
import numpy as np
from PIL import Image

# Levels of 255. A render and its source differ by less where nothing was drawn: the VAE's own error.
_LEAST_CHANGE = 24
# Of the shorter side: how far around a change its edge reaches, so that a shadow keeps no hole.
_EDGE_SHARE = 0.01


def keep_alpha(result: Image.Image, source: Image.Image, mask: Image.Image | None = None) -> Image.Image:
    """The result in RGBA: opaque where something was drawn, elsewhere with the source's alpha and colors.

    `source` is an upright RGBA image in sRGB. A `mask` says where something may have been drawn: where it is not black.
    """
    scaled = source.resize(result.size, Image.Resampling.LANCZOS)
    pixels, before = np.asarray(result.convert("RGB")), np.asarray(scaled)
    drawn = _changed(pixels, before) if mask is None else np.asarray(mask.convert("L").resize(result.size)) > 0
    alpha = np.where(drawn, 255, before[..., 3]).astype(np.uint8)
    see_through = ~drawn & (before[..., 3] < 255)
    colors = np.where(see_through[..., None], before[..., :3], pixels)
    return Image.fromarray(np.dstack((colors, alpha)))


def _changed(pixels: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Where a picture differs from its source on white, with the edges around."""
    share = before[..., 3:].astype(np.float32) / 255
    on_white = before[..., :3] * share + 255 * (1 - share)
    difference = np.abs(pixels.astype(np.float32) - on_white).max(axis=-1)
    reach = max(1, round(min(pixels.shape[:2]) * _EDGE_SHARE))
    smooth = cv2.blur(difference, (reach, reach))
    kernel = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    return cv2.dilate((smooth > _LEAST_CHANGE).astype(np.uint8), kernel) > 0
