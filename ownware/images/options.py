"""The options of the Python API, as the caller gives them: nothing is checked and no default is resolved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypedDict

from PIL import Image

from pipelines.request import ControlMode, Outpaint

ImageInput = str | Path | Image.Image  # a path, or an image in memory
AlignTo = Literal["auto", "seed_image"] | int  # a number counts the images to edit, from 0
LoraChoice = str | Path | tuple[str | Path, float]  # a name of the catalogue or a file, with its weight


@dataclass(frozen=True, slots=True)
class Control:
    """A ControlNet with its control image. It acts in the executed steps `start` ≤ step < `end`.

    `model` is an AIR identifier or slug. `weight` None means the ControlNet's own, `end` None the last step.
    """

    model: str
    image: ImageInput
    weight: float | None = None
    mode: ControlMode = "balanced"
    start: int = 0
    end: int | None = None


class Arguments(TypedDict, total=False):
    """The keyword arguments that `ownware.generate` and `ownware.edit` share. `generate` describes each."""

    model: str | None
    negative_prompt: str | None
    width: int | None
    height: int | None
    steps: int | None
    scheduler: str | None
    true_cfg_scale: float | None
    seed: int | None
    seed_image: ImageInput | None
    strength: float | None
    mask: ImageInput | None
    mask_margin: int | None
    outpaint: Outpaint | None
    loras: Sequence[LoraChoice]
    controls: Sequence[Control]
    cache: Mapping[str, object] | None
    align_to: AlignTo | None
    keep_unchanged: ImageInput | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOptions:
    """One image to render. None means the default, which depends on the model; see `ownware.generate`."""

    prompt: str
    images: tuple[ImageInput, ...] = ()
    model: str | None = None
    negative_prompt: str | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    scheduler: str | None = None
    true_cfg_scale: float | None = None
    seed: int | None = None
    seed_image: ImageInput | None = None
    strength: float | None = None
    mask: ImageInput | None = None
    mask_margin: int | None = None
    outpaint: Outpaint | None = None
    loras: Sequence[LoraChoice] = ()
    controls: Sequence[Control] = ()
    cache: Mapping[str, object] | None = None
    align_to: AlignTo | None = None
    keep_unchanged: ImageInput | None = None
