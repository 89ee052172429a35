"""Brings images whose color space is given as code points into sRGB: cICP of a PNG, nclx of an AVIF or HEIC.

Code points are those of ITU-T H.273. Knows numbers; knows no files and no profiles.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

# x and y of red, green and blue. The white of all of them is D65.
_PRIMARIES: Final = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),  # BT.709, and sRGB
    5: ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060)),  # BT.601, 625 lines
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)),  # BT.601, 525 lines
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),  # BT.2020
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),  # Display P3
}
_D65 = (0.3127, 0.3290)
_SRGB_PRIMARIES = 1
_SRGB_TRANSFER = 13
_GAMMAS: Final = {4: 2.2, 5: 2.8, 8: 1.0}
_BT709_TRANSFERS: Final = frozenset({1, 6, 14, 15})
_HDR: Final = {16: "PQ", 18: "HLG"}
_UNSPECIFIED = 2
_TRANSFERS: Final = frozenset({_SRGB_TRANSFER, _UNSPECIFIED, *_GAMMAS, *_BT709_TRANSFERS})
_ROWS = 256  # converted at once, so that large images take little memory


@dataclass(frozen=True, slots=True)
class ColorCodes:
    """The primaries and the transfer function of an image's numbers, as code points. Ranges and matrices are undone."""

    primaries: int
    transfer: int

    @property
    def is_srgb(self) -> bool:
        """Whether the numbers are sRGB, or count as sRGB because nothing is said."""
        return self.primaries in (_SRGB_PRIMARIES, _UNSPECIFIED) and self.transfer in (_SRGB_TRANSFER, _UNSPECIFIED)

    @property
    def problem(self) -> str | None:
        """Why the codes cannot be used. None for good ones."""
        if self.transfer in _HDR:
            return f"has the high dynamic range of {_HDR[self.transfer]}"
        if self.transfer not in _TRANSFERS or self.primaries not in {*_PRIMARIES, _UNSPECIFIED}:
            return f"has unknown code points ({self.primaries}, {self.transfer})"
        return None


def codes_to_srgb(image: Image.Image, codes: ColorCodes) -> Image.Image:
    """An RGB image in sRGB. Codes that cannot be used leave it as it is."""
    if codes.is_srgb or codes.problem is not None:
        return image
    to_light = _to_light(codes.transfer).astype(np.float32)
    matrix = (_matrix(_SRGB_PRIMARIES, inverse=True) @ _matrix(codes.primaries)).astype(np.float32)
    pixels = np.asarray(image)
    converted = np.empty_like(pixels)
    for start in range(0, len(pixels), _ROWS):
        rows = slice(start, start + _ROWS)
        light = (to_light[pixels[rows]] @ matrix.T).clip(0, 1)
        converted[rows] = (255 * encode_srgb(light)).round()
    return Image.fromarray(converted)


def _to_light(transfer: int) -> np.ndarray:
    """The light of each of the 256 levels, in 0…1."""
    levels = np.linspace(0, 1, 256)
    if transfer in _GAMMAS:
        return levels ** _GAMMAS[transfer]
    if transfer in _BT709_TRANSFERS:
        return np.where(levels < 0.081, levels / 4.5, ((levels + 0.099) / 1.099) ** (1 / 0.45))  # BT.709
    return np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)  # IEC 61966-2-1


def encode_srgb(light: np.ndarray) -> np.ndarray:
    """The sRGB values of light, both in 0…1."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)  # IEC 61966-2-1


def _matrix(primaries: int, *, inverse: bool = False) -> np.ndarray:
    """From linear RGB to XYZ, or back."""
    red, green, blue = _PRIMARIES[_SRGB_PRIMARIES if primaries == _UNSPECIFIED else primaries]
    columns = np.array([_xyz(*each) for each in (red, green, blue)]).T
    matrix = columns * np.linalg.solve(columns, _xyz(*_D65))
    return np.linalg.inv(matrix) if inverse else matrix


def _xyz(x: float, y: float) -> np.ndarray:
    """The color of a chromaticity at a luminance of 1."""
    return np.array([x / y, 1, (1 - x - y) / y])
