"""The `RenderRequest`, into which every wire format is translated.

A request is fully resolved: no default is open, and every picture has been decoded once. Imports no torch, so that the
API process can build requests. Knows no JSON.
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

# Left out of receipts and stored jobs where it is None, so that those of undistilled models stay the same bytes.
OnlyIfGiven = Annotated[float | None, Field(exclude_if=lambda value: value is None)]


@dataclass(frozen=True, slots=True)
class Sampler:
    """A solver of the probability flow, and the schedule of sigmas it runs on.

    `shifted` is the model's own schedule, which depends on the resolution. `uniform` has equal steps of sigma. The
    other schedules keep the first and the last sigma of one of the two and respace the rest. Distilled weights have a
    `shift` that is the same for all resolutions, and a `terminal` sigma of their own, 0 for none. None means the
    checkpoint's.
    """

    # Receipts and stored jobs keep the names that the fields had when the first of them were written.
    solver: Annotated[SolverName, Field(alias="integrator")] = "euler"
    schedule: Annotated[ScheduleName, Field(alias="spacing")] = "shifted"
    shift: OnlyIfGiven = None
    terminal: OnlyIfGiven = None

    @property
    def stochastic(self) -> bool:
        """Whether noise is added between steps: a small change of the request then changes the whole picture."""
        return self.solver in get_args(Stochastic)


@dataclass(frozen=True, slots=True)
class Reference:
    """A picture on disk that has been decoded successfully once.

    `width` and `height` are in pixels, after the EXIF orientation has been applied.
    """

    path: Path
    sha256: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class LoraUse:
    """A LoRA file and its strength. `name` is the name that the sender gave."""

    name: str
    path: Path
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class ControlUse:
    """A ControlNet, its control image and its window: it acts in the executed steps `start` ≤ step < `end`.

    `name` is the name that the sender gave, `weights` a folder in the diffusers layout or a hub name.
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
    """The pixels added on each side of the seed image. The mask rises over `blur` pixels from each new edge."""

    top: int = 0
    right: int = 0
    bottom: int = 0
    left: int = 0
    blur: int = 0


@dataclass(frozen=True, slots=True)
class FaceRefinement:
    """How each face in the finished image is rendered again.

    `confidence` is in 0…1. `mask_padding` are the pixels around the face that belong to the mask; `mask_blur` is the
    radius in pixels of the blur at the mask's edge.
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
class DriftGuard:
    """What an edit must not lose of its source. Both are off by default.

    `reference` is the number of the reference image to compare with; None is the seed image. `align` undoes a small
    shift and scale of the whole image. `keep` says where the image may differ from the source: a mask that is white
    there, or "auto" for the parts that clearly differ. Elsewhere it has the source's own pixels.
    """

    reference: int | None
    align: bool = False
    keep: Literal["auto"] | Reference | None = None

    @property
    def source(self) -> str:
        """The path of the picture to compare with."""
        return "seed_image" if self.reference is None else f"references[{self.reference}]"


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """One task of `count` images. Image k has the seed `seed + k`, and equals the single render of that seed.

    `model` is an AIR identifier of the catalogue. `width` and `height` are in pixels, and multiples of 16. Guidance is
    off at a `true_cfg_scale` of 1 or less. A `negative_prompt` of None means the model's neutral one. `strength` is the
    share of the steps that the `seed_image` is rendered with. The `mask` is white where the seed image may change, and
    `mask_margin` are the pixels around it that are rendered with it. Without a `cache`, every step is computed. The
    text of a `watermark` is drawn into the corner of the finished image. A `guard` compares it with its source before.
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
    watermark: Annotated[str | None, Field(exclude_if=lambda value: value is None)] = None
    guard: Annotated[DriftGuard | None, Field(exclude_if=lambda value: value is None)] = None

    @property
    def executed_steps(self) -> int:
        """The number of steps that are run."""
        return executed_steps(self.steps, None if self.seed_image is None else self.strength)


def executed_steps(steps: int, strength: float | None) -> int:
    """The number of `steps` that are run. With a seed image, the strength skips the first ones, as in diffusers.

    `strength` is None without a seed image.
    """
    return steps if strength is None else steps - int(max(steps - steps * strength, 0))
