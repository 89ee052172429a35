"""The one internal language: what a renderer is asked to draw.

Every wire format is translated into a `RenderRequest`; nothing below that translation sees JSON. A request
is fully resolved: no default is left to guess and every picture has been decoded once. This module imports
no torch, so that the API process can build requests.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field

from accel.cache.plan import CachePlan
from pipelines.limits import MAX_STEPS

Deterministic = Literal[
    "euler",
    "heun",
    "kdpm2",
    "dpmpp_2m",
    "dpmpp_3m",
    "dpmpp_2s",
    "unipc_2",
    "unipc_3",
    "deis",
    "lms",
    "ipndm",
    "pndm",
]
Stochastic = Literal["euler_a", "kdpm2_a", "lcm", "tcd", "ddpm", "dpmpp_sde", "dpmpp_2m_sde", "dpmpp_3m_sde"]
SolverName = Literal[Deterministic, Stochastic]
ScheduleName = Literal[
    "shifted",
    "karras",
    "exponential",
    "beta",
    "uniform",
    "uniform_karras",
    "uniform_exponential",
    "uniform_beta",
]
ControlMode = Literal["balanced", "prompt", "controlnet"]


@dataclass(frozen=True, slots=True)
class Sampler:
    """A solver of the probability flow, and the schedule of sigmas it runs on.

    `shifted` is the model's own schedule, which depends on the resolution. `uniform` has equal steps of sigma. The
    other schedules keep the first and the last sigma of one of the two and respace the rest.
    """

    # Receipts and stored jobs keep the names that the fields had when the first of them were written.
    solver: Annotated[SolverName, Field(alias="integrator")] = "euler"
    schedule: Annotated[ScheduleName, Field(alias="spacing")] = "shifted"

    @property
    def stochastic(self) -> bool:
        """Whether noise is added between steps: a small change of the request then changes the whole picture."""
        return self.solver in get_args(Stochastic)


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
class LoraUse:
    """A low-rank adapter and how strongly it acts. `name` is what the sender called it, `path` its file."""

    name: str
    path: Path
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class ControlUse:
    """A ControlNet, its control image and when it acts: in the executed steps `start` ≤ step < `end`.

    `name` is what the sender called it, `weights` a folder in the diffusers layout or a hub name.
    """

    name: str
    weights: str
    # Receipts and stored jobs keep the name that the field had when the first of them were written.
    control_image: Annotated[Reference, Field(alias="guide")]
    weight: float = 1.0
    mode: ControlMode = "balanced"
    start: int = 0
    end: int = MAX_STEPS


@dataclass(frozen=True, slots=True)
class Outpaint:
    """Pixels that the seed image is extended by on each side; `blur` pixels of it are blended at each new edge."""

    top: int = 0
    right: int = 0
    bottom: int = 0
    left: int = 0
    blur: int = 0


@dataclass(frozen=True, slots=True)
class FaceRefinement:
    """How each face that is found in the finished picture is drawn again.

    `confidence` is 0 to 1; `mask_padding` and `mask_blur` are pixels around the face and at the edge of what is drawn.
    """

    prompt: str
    negative_prompt: str | None
    true_cfg_scale: float = 8.0
    confidence: float = 0.9
    mask_padding: int = 5
    mask_blur: int = 5
    steps: int = 20
    strength: float = 0.3


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """One task of `count` images. Image k is drawn with `seed + k` and equals the single render of that seed.

    `model` is an AIR identifier of the catalogue, sizes are pixels and multiples of 16, `true_cfg_scale` at or
    below 1 switches guidance off, and `negative_prompt` None means the model's neutral one. `seed_image` is what the
    picture starts from, `strength` how much of it is drawn anew, `mask` white where it may change, and `mask_margin`
    the pixels around the mask that are drawn with it. `cache` is None when every step is computed.
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
    seed_image: Reference | None = None
    strength: float = 1.0
    mask: Reference | None = None
    mask_margin: int | None = None
    outpaint: Outpaint | None = None
    loras: tuple[LoraUse, ...] = ()
    controls: tuple[ControlUse, ...] = ()
    faces: FaceRefinement | None = None
    cache: CachePlan | None = None

    @property
    def executed_steps(self) -> int:
        """How many of the steps are run: a seed image skips those that its strength leaves out (as in diffusers)."""
        if self.seed_image is None:
            return self.steps
        return self.steps - int(max(self.steps - self.steps * self.strength, 0))
