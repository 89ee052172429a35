"""How far a picture is from its uncached twin, by scikit-image's PSNR and SSIM and by NVIDIA's FLIP.

Knows pixels; knows no model.
"""

from typing import Any, cast

import flip_evaluator
import numpy as np
from PIL import Image
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from benchmarks.step_caches.results import PSNR_OF_EQUALS, Likeness


def compare(picture: Image.Image, twin: Image.Image) -> Likeness:
    """A picture beside its twin of the same size. Raises `ValueError` on another size."""
    ours, theirs = (np.asarray(image.convert("RGB")) for image in (picture, twin))
    if ours.shape != theirs.shape:
        raise ValueError(f"pictures of {picture.size} and {twin.size} pixels cannot be compared")
    equal = mean_squared_error(theirs, ours) == 0
    psnr = PSNR_OF_EQUALS if equal else peak_signal_noise_ratio(theirs, ours, data_range=255)
    # With the window of the paper (Wang et al. 2004), not scikit-image's default one.
    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    ssim = cast("float", structural_similarity(theirs, ours, data_range=255, channel_axis=-1, **window))
    reference, test = (np.float32(image / 255) for image in (theirs, ours))
    _, flip, _ = cast("Any", flip_evaluator.evaluate(reference, test, "LDR", applyMagma=False))
    return Likeness(round(float(psnr), 3), round(float(ssim), 5), round(float(flip), 5))
