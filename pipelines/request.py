"""The one internal language: what a renderer is asked to draw.

Every wire format is translated into a `RenderRequest`; nothing below that translation sees JSON. A request
is fully resolved: no default is left to guess and every picture has been decoded once. This module imports
no torch, so that the API process can build requests.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Integrator = Literal["euler", "dpmpp_2m"]
Spacing = Literal["shifted", "karras"]


@dataclass(frozen=True, slots=True)
class Sampler:
    """How the probability flow is integrated, and on which sigmas.

    `shifted` is the model's own resolution-dependent schedule; `karras` respaces it with rho = 7.
    """

    integrator: Integrator = "euler"
    spacing: Spacing = "shifted"


@dataclass(frozen=True, slots=True)
class Reference:
    """A picture on disk, already decoded once and found good.

    `width` and `height` are pixels as shown, that is, after the EXIF orientation has been applied.
    """

    path: Path
    sha256: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """One task of `count` images. Image k is drawn with `seed + k` and equals the single render of that seed.

    `model` is an AIR identifier of the catalogue, sizes are pixels and multiples of 16, `true_cfg_scale` at or
    below 1 switches guidance off, and `negative_prompt` None means the model's neutral one.
    """

    model: str
    prompt: str
    negative_prompt: str | None
    width: int
    height: int
    steps: int
    sampler: Sampler
    true_cfg_scale: float
    seed: int
    count: int = 1
    references: tuple[Reference, ...] = ()
