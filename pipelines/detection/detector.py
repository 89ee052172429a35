"""The detector of body parts that face refinement and the content check share: NudeNet, loaded once in a process.

Knows pictures; imports no torch. Its weights are in the wheel of the extras `faces` and `safety`.
"""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from nudenet import NudeDetector


@dataclass(frozen=True, slots=True)
class Detection:
    """A part that was found: its label, its score from 0 to 1, and its box as left, top, width and height in pixels."""

    label: str
    score: float
    box: tuple[int, int, int, int]


def detect(picture: Image.Image) -> tuple[Detection, ...]:
    """All parts in an RGB picture."""
    found = _detector().detect(np.ascontiguousarray(np.asarray(picture)[:, :, ::-1]))  # BGR
    return tuple(Detection(one["class"], float(one["score"]), tuple(one["box"])) for one in found)


@cache
def _detector() -> "NudeDetector":
    from nudenet import NudeDetector  # an extra, and it takes a second to load

    return NudeDetector()
