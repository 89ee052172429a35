"""Scales pictures and masks, and mixes two pictures by a mask. Knows arrays and Pillow; knows no requests."""

import numpy as np
from PIL import Image


def resize_picture(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """Return the picture at a size in pixels, width first."""
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)


def resize_mask(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return a mask [H, W] at a size in pixels, width first.

    It is resized linearly, because a mask must not overshoot: black stays black and white stays white.
    """
    if (mask.shape[1], mask.shape[0]) == size:
        return mask
    return np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.BILINEAR)).clip(0, 1)


def mix_pixels(before: np.ndarray, after: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return `after` where the mask [H, W] is 1 and `before` where it is 0. Pictures are uint8 [H, W, 3]."""
    source, target = before.astype(np.float32), after.astype(np.float32)
    return (source + mask[..., None] * (target - source)).round().astype(np.uint8)
