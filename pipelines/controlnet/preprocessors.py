"""Makes control images with filters. Needs no weights and no torch.

Pure functions from a picture to an RGB control image of the same size. Edges and lines are white on black, as the nets
were trained on them. For soft edges and line art the field uses neural networks; `imitates_network` says where a filter
stands in for one. Kinds that no filter can imitate are in `NEED_A_NETWORK`.
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from pipelines.limits import MAX_SIDE  # no picture is drawn larger, so no control image need be

Pixels = NDArray[np.uint8]

CANNY_LOW, CANNY_HIGH = 100, 200  # the vendor's defaults

# The lengths in pixels below are for a picture with this short side, and are scaled in proportion for others. The
# annotators of sd-webui-controlnet scale pictures to it by default.
_USUAL_SIDE = 512
_LEAST_SIGMA = 0.3  # a narrower Gaussian does not change the picture
_WIDEST_SIGMA = 4.0

_SOFT_EDGE_SIGMAS = (1.0, 2.0, 4.0)  # fine texture to outlines
_SOFT_EDGE_FLOOR = 16 * 0.4  # a step of 16 grey levels: fainter ones are not raised to white
_LINE_SIGMA, _LINE_FLOOR, _LINE_MEDIAN, _LINE_LEVEL = 6.0, 8, 16, 127  # sd-webui-controlnet: lineart_standard
_SCRIBBLE_SIGMAS, _SCRIBBLE_FLOOR = (0.5, 5.0), 16  # sd-webui-controlnet: scribble_xdog with its threshold of 32
_BLUR_SIGMA = 9.0  # sd-webui-controlnet: blur_gaussian
_TILE_FACTOR = 4
_SHUFFLE_LENGTH = 256  # controlnet_aux: ContentShuffleDetector
_SHUFFLE_SEED = 0  # the same picture gives the same control image

NEED_A_NETWORK: frozenset[str] = frozenset(
    "depth depth_leres depth_midas depth_zoe mlsd normalbae normal_bae openpose openpose_face openpose_faceonly "
    "openpose_full openpose_hand seg seg_ofade20k seg_ofcoco seg_ufade20k inpaint_global_harmonious".split()
)


def preprocess(image: Image.Image, kind: str, *, low: int = CANNY_LOW, high: int = CANNY_HIGH) -> Image.Image:
    """Make the control image of a kind in `KINDS`. `low` and `high` are Canny's thresholds, 0 to 255.

    Raises `KeyError` on another kind.
    """
    pixels = np.asarray(image.convert("RGB"), dtype=np.uint8)
    name = KINDS[kind]
    made = cv2.Canny(pixels, low, high) if name == "canny" else _FILTERS[name](pixels)
    return Image.fromarray(made).convert("RGB")


def shrink(image: Image.Image, width: int | None, height: int | None) -> Image.Image:
    """Shrink a picture to a width and a height in pixels, if it is larger. One of them alone keeps the aspect.

    No side is longer than `MAX_SIDE` afterwards.
    """
    wide, high = image.size
    if width is not None and height is not None:
        wide, high = min(wide, width), min(high, height)
    else:
        shrunk = min(1.0, (width or wide) / wide, (height or high) / high)
        wide, high = _scaled(wide, high, shrunk)
    wide, high = _scaled(wide, high, min(1.0, MAX_SIDE / max(wide, high)))
    return image if (wide, high) == image.size else image.resize((wide, high), Image.Resampling.LANCZOS)


def imitates_network(kind: str) -> bool:
    """Whether the field makes this kind with a network, and a filter imitates it here."""
    return kind not in ("lineart_standard", "scribble") and KINDS[kind] in ("softedge", "lineart", "scribble")


def _scaled(width: int, height: int, factor: float) -> tuple[int, int]:
    return max(1, round(width * factor)), max(1, round(height * factor))


def _soft_edges(pixels: Pixels) -> Pixels:
    """The largest gradient of any colour at any scale. Gradients are normalised by the scale."""
    colours = pixels.astype(np.float32)
    steepest = np.zeros(pixels.shape[:2], np.float32)
    for sigma in _SOFT_EDGE_SIGMAS:
        smooth = _blurred(colours, sigma)
        across, down = (cv2.Sobel(smooth, cv2.CV_32F, *order, ksize=3, scale=1 / 8) for order in ((1, 0), (0, 1)))
        steepest = np.maximum(steepest, np.hypot(across, down).max(axis=2) * _length(pixels, sigma))
    white = max(float(np.percentile(steepest, 99.5)), _SOFT_EDGE_FLOOR)
    return _bytes(steepest * (255 / white))


def _line_art(pixels: Pixels) -> Pixels:
    """Pixels that are darker than their surroundings in every colour."""
    colours = pixels.astype(np.float32)
    lines = (_blurred(colours, _LINE_SIGMA) - colours).min(axis=2).clip(0, 255)
    strong = lines[lines > _LINE_FLOOR]
    middle = max(_LINE_MEDIAN, float(np.median(strong))) if strong.size else _LINE_MEDIAN
    return _bytes(lines * (_LINE_LEVEL / middle))


def _scribble(pixels: Pixels) -> Pixels:
    """Thick strokes, black or white, by the extended difference of Gaussians (XDoG)."""
    fine, coarse = (_blurred(pixels.astype(np.float32), sigma) for sigma in _SCRIBBLE_SIGMAS)
    return np.where((coarse - fine).min(axis=2) > _SCRIBBLE_FLOOR, 255, 0).astype(np.uint8)


def _tile(pixels: Pixels) -> Pixels:
    """Colours and coarse shapes only: the picture is reduced by area and enlarged again."""
    height, width = pixels.shape[:2]
    small = cv2.resize(pixels, _scaled(width, height, 1 / _TILE_FACTOR), interpolation=cv2.INTER_AREA)
    return _as_pixels(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))


def _shuffled(pixels: Pixels) -> Pixels:
    """The colours and textures in other places: smooth noise says where each pixel is taken from."""
    height, width = pixels.shape[:2]
    random = np.random.default_rng(_SHUFFLE_SEED)
    across, down = (_smooth_noise(height, width, random) * (side - 1) for side in (width, height))
    return _as_pixels(cv2.remap(pixels, across, down, cv2.INTER_LINEAR))


def _smooth_noise(height: int, width: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Noise in 0…1 that varies over `_SHUFFLE_LENGTH` pixels."""
    length = _SHUFFLE_LENGTH
    coarse = random.random((height // length + 2, width // length + 2), dtype=np.float32)
    smooth = cv2.resize(coarse, (width + 2 * length, height + 2 * length), interpolation=cv2.INTER_CUBIC)
    cut = smooth[length : length + height, length : length + width].astype(np.float32)
    return (cut - cut.min()) / max(float(np.ptp(cut)), 1e-6)


def _grey(pixels: Pixels) -> Pixels:
    return _as_pixels(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))


def _blurred(pixels: NDArray[Any], sigma: float) -> NDArray[Any]:
    """A Gaussian blur. A wide one runs on a smaller copy: it is as smooth there, and many times faster."""
    length = _length(pixels, sigma)
    factor = int(length / _WIDEST_SIGMA) + 1
    if factor == 1:
        return cv2.GaussianBlur(pixels, (0, 0), length)
    height, width = pixels.shape[:2]
    small = cv2.resize(pixels, _scaled(width, height, 1 / factor), interpolation=cv2.INTER_AREA)
    return cv2.resize(cv2.GaussianBlur(small, (0, 0), length / factor), (width, height), interpolation=cv2.INTER_LINEAR)


def _length(pixels: NDArray[Any], usual: float) -> float:
    return max(_LEAST_SIGMA, usual * min(pixels.shape[:2]) / _USUAL_SIDE)


def _bytes(values: NDArray[np.float32]) -> Pixels:
    return values.clip(0, 255).round().astype(np.uint8)


def _as_pixels(values: Any) -> Pixels:
    return np.asarray(values, dtype=np.uint8)


_FILTERS: dict[str, Callable[[Pixels], Pixels]] = {
    "softedge": _soft_edges,
    "lineart": _line_art,
    "scribble": _scribble,
    "tile": _tile,
    "blur": lambda pixels: _as_pixels(_blurred(pixels, _BLUR_SIGMA)),
    "gray": _grey,
    "invert": lambda pixels: 255 - pixels,
    "shuffle": _shuffled,
}

# Names on the vendor's published list and in the types of its SDKs → the filter.
KINDS: dict[str, str] = {name: name for name in ("canny", *_FILTERS)} | {
    "hed": "softedge",
    "softedge_hed": "softedge",
    "softedge_hedsafe": "softedge",
    "softedge_pidinet": "softedge",
    "softedge_pidisafe": "softedge",
    "lineart_anime": "lineart",
    "lineart_coarse": "lineart",
    "lineart_realistic": "lineart",
    "lineart_standard": "lineart",
    "scribble_hed": "scribble",
    "scribble_pidinet": "scribble",
    "tile_gaussian": "blur",
}
