"""Pictures with a known drift. Knows numpy and OpenCV; knows no model."""

import cv2
import numpy as np

from pipelines.editing.drift.registration import Drift


def texture(height: int, width: int, seed: int) -> np.ndarray:
    """A picture with details of all sizes, like a photograph: noise whose spectrum falls."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)) + 1 / min(height, width)
    noise = np.fft.fft2(rng.standard_normal((3, height, width))) / frequency**1.6
    waves = np.fft.ifft2(noise).real
    low, high = waves.min(axis=(1, 2), keepdims=True), waves.max(axis=(1, 2), keepdims=True)
    return (255 * (waves - low) / (high - low)).astype(np.uint8).transpose(1, 2, 0).copy()


def shapes(height: int, width: int) -> np.ndarray:
    """Flat shapes on a plain background, like those of the embedded checkpoint."""
    picture = np.full((height, width, 3), (240, 240, 235), np.uint8)
    cv2.circle(picture, (width // 3, height // 3), min(height, width) // 6, (200, 40, 50), -1, cv2.LINE_AA)
    low, high = (width // 2, height // 2), (width * 4 // 5, height * 4 // 5)
    cv2.rectangle(picture, low, high, (40, 70, 190), -1)
    return picture


def drifted(picture: np.ndarray, drift: Drift) -> np.ndarray:
    """The picture as an edit with this drift returns it, with a little noise."""
    height, width = picture.shape[:2]
    matrix = drift.matrix(width, height)
    moved = cv2.warpAffine(
        picture, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101
    ).astype(np.float32)
    return (moved + np.random.default_rng(0).normal(0, 2, moved.shape)).clip(0, 255).astype(np.uint8)


def corner_error(found: Drift, true: Drift, height: int, width: int) -> float:
    """How far two drifts differ at the corner where they differ most, in pixels."""
    corners = [(x, y) for x in (0, width - 1) for y in (0, height - 1)]
    return max(float(np.hypot(*np.subtract(found.at(*c, width, height), true.at(*c, width, height)))) for c in corners)
