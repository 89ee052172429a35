"""Compares an image with its uncached baseline: scikit-image's PSNR and SSIM, and NVIDIA's FLIP.

Knows pixels; knows no model.
"""

from typing import Any, cast

import flip_evaluator
import numpy as np
from PIL import Image
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from benchmarks.step_caches.results import PSNR_OF_EQUALS, Similarity


def compare(image: Image.Image, baseline: Image.Image) -> Similarity:
    """The similarity of an image to a baseline of the same size. Raises `ValueError` on another size."""
    test, reference = (np.asarray(each.convert("RGB")) for each in (image, baseline))
    if test.shape != reference.shape:
        raise ValueError(f"images of {image.size} and {baseline.size} pixels cannot be compared")
    equal = mean_squared_error(reference, test) == 0
    psnr = PSNR_OF_EQUALS if equal else peak_signal_noise_ratio(reference, test, data_range=255)
    # With the window of the paper (Wang et al. 2004), not scikit-image's default one.
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    ssim = cast("float", structural_similarity(reference, test, data_range=255, channel_axis=-1, **window))
    reference, test = (np.float32(each / 255) for each in (reference, test))
    _, flip, _ = cast("Any", flip_evaluator.evaluate(reference, test, "LDR", applyMagma=False))
    return Similarity(round(float(psnr), 3), round(float(ssim), 5), round(float(flip), 5))
