"""Finds where an edit has changed nothing, so that the source's own pixels can be put back.

An edit passes the whole picture through the VAE, so all of it differs a little. Knows pictures as arrays; knows no
requests.
"""

import cv2
import numpy as np

# Levels of 255. The VAE's own error is about two levels in flat parts and ten at edges, which a blur hides.
_CHANGED, _SURELY_CHANGED = 14.0, 32.0
_NOISE_FACTOR = 4.0  # a change is this much larger than the median difference, which no edit of a part reaches
_BLUR_SHARE, _REACH_SHARE = 0.004, 0.015  # of the shorter side: the blur of the difference, and the width of the seam
_LEAST_SHARE = 2e-4  # of the picture: a smaller change is an error of the VAE


def changed_parts(source: np.ndarray, edited: np.ndarray) -> np.ndarray:
    """Return where an edit has changed its source, float32 [H, W] in 0…1, with a soft seam outside of the change.

    Both are uint8 [H, W, 3]. A part counts as changed if it differs clearly somewhere.
    """
    side = min(source.shape[:2])
    difference = np.abs(edited.astype(np.float32) - source.astype(np.float32)).max(axis=2)
    difference = cv2.GaussianBlur(difference, (0, 0), max(1.0, _BLUR_SHARE * side))
    noise = _NOISE_FACTOR * float(np.median(difference))
    low, high = max(_CHANGED, min(noise, _SURELY_CHANGED)), _SURELY_CHANGED
    count, labels, stats, _ = cv2.connectedComponentsWithStats((difference > low).astype(np.uint8), connectivity=8)
    sure = np.zeros(count, dtype=bool)
    sure[np.unique(labels[difference > high])] = True
    sure &= stats[:, cv2.CC_STAT_AREA] >= _LEAST_SHARE * source.shape[0] * source.shape[1]
    sure[0] = False  # the background of the labels
    return soften_mask(sure[labels].astype(np.float32))


def soften_mask(mask: np.ndarray) -> np.ndarray:
    """Return a mask [H, W] in 0…1 that is wider by a soft seam. It stays 1 where it was 1."""
    reach = max(2, round(_REACH_SHARE * min(mask.shape)))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    wide = cv2.GaussianBlur(cv2.dilate(mask, kernel), (2 * reach + 1, 2 * reach + 1), reach / 2)
    return np.maximum(mask, wide)
