"""Which images are advanced in one pass over the blocks, and where both branches of guidance are one batch.

`ownware bench batching` measures on a device and writes the file. Without it all run one after the other. Knows
requests and numbers; imports no torch.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from pipelines.request import RenderRequest

FORMAT = 1
# The most images that are measured together.
MOST_IMAGES = 8
# Below this a gain is not worth that the first image comes later.
LEAST_GAIN = 1.05
# The largest difference of the latents, relative to their norm, that rounding on a GPU explains.
GPU_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class BatchShape:
    """What images have in common that may be advanced together. Prompts, seeds, steps and solvers may differ.

    `loras` are the paths of the LoRAs, with their weights.
    """

    model: str
    width: int
    height: int
    references: int
    guided: bool
    loras: tuple[tuple[Path, float], ...]


def shape_of(request: RenderRequest) -> BatchShape | None:
    """The shape of a request's images; None where they go alone.

    A step cache decides for each image, a ControlNet acts between the blocks, and faces have steps of their own.
    """
    if request.cache is not None or request.controls or request.faces is not None:
        return None
    loras = tuple((lora.path, lora.weight) for lora in request.loras)
    references, guided = len(request.references), request.true_cfg_scale > 1
    return BatchShape(request.model.lower(), request.width, request.height, references, guided, loras)


def branches_can_batch(request: RenderRequest) -> bool:
    """Whether an image has two branches of guidance, and no ControlNet that acts between their blocks."""
    return request.true_cfg_scale > 1 and not request.controls


@dataclass(frozen=True, slots=True)
class BatchGain:
    """A measurement: how many times as fast `images` of a size are together, and how far their latents then differ.

    `gain` is that of images at the same step, and `joined` that of images at different ones; 0 where it was not
    measured. `difference` is relative to the norm of the latents.
    """

    model: str
    width: int
    height: int
    images: int
    gain: float
    difference: float
    joined: float = 0.0
    references: int = 0


@dataclass(frozen=True, slots=True)
class BranchGain:
    """A measurement: how many times as fast one image of a size is with both branches of guidance as one batch.

    `difference` is how far its latents then differ, relative to their norm.
    """

    model: str
    width: int
    height: int
    gain: float
    difference: float
    references: int = 0


def near_enough(gain: BatchGain | BranchGain, *, on_gpu: bool) -> bool:
    """Whether the latents of a measurement are near enough. On a CPU not one bit may differ."""
    return gain.difference <= (GPU_TOLERANCE if on_gpu else 0.0)


Measured = TypeVar("Measured", BatchGain, BranchGain)


@dataclass(frozen=True, slots=True)
class BatchGains:
    """The measurements of one device, with one version of torch. Older files have no `branches`."""

    device: str
    torch: str
    gains: tuple[BatchGain, ...]
    format: int = FORMAT
    branches: tuple[BranchGain, ...] = ()

    def allowed(self, *, on_gpu: bool) -> "BatchGains":
        """Those measurements whose latents are near enough."""
        return replace(
            self,
            gains=tuple(each for each in self.gains if near_enough(each, on_gpu=on_gpu)),
            branches=tuple(each for each in self.branches if near_enough(each, on_gpu=on_gpu)),
        )

    @property
    def branches_gain(self) -> bool:
        """Whether both branches of guidance are faster as one batch for any shape."""
        return any(each.gain >= LEAST_GAIN for each in self.branches)

    def branches_together(self, request: RenderRequest) -> bool:
        """Whether both branches of guidance of a request are faster as one batch."""
        shape = shape_of(request)
        if shape is None or not shape.guided:
            return False
        return any(each.gain >= LEAST_GAIN for each in _about(self.branches, shape))

    def images_together(self, request: RenderRequest) -> int:
        """The most images of a request that are faster together."""
        return max(
            (each.images for each in _about(self.gains, shape_of(request)) if each.gain >= LEAST_GAIN), default=1
        )

    def tasks_together(self, shape: BatchShape | None, images: int = MOST_IMAGES) -> int:
        """The largest number of images of several tasks, up to `images`, that are faster together."""
        joined = (each.images for each in _about(self.gains, shape) if each.joined >= LEAST_GAIN)
        return max((count for count in joined if count <= images), default=1)


def _about(gains: Iterable[Measured], shape: BatchShape | None) -> Iterator[Measured]:
    """The measurements that hold for a shape. A larger size than the measured ones gains less."""
    if shape is None:
        return
    for each in gains:
        measured = each.model.lower(), each.references
        if measured == (shape.model, shape.references) and each.width * each.height >= shape.width * shape.height:
            yield each


_GAINS = TypeAdapter(BatchGains)


def write_gains(path: Path, gains: BatchGains) -> None:
    """Write the measurements of a device."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(asdict(gains), indent=1) + "\n")


def read_gains(path: Path, device: str, torch: str) -> BatchGains | None:
    """The measurements of this device with this torch; None without them. Raises `ValueError` for a broken file."""
    try:
        found = _GAINS.validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise ValueError(f"{path} cannot be read; `ownware bench batching` writes it anew") from error
    return found if (found.format, found.device, found.torch) == (FORMAT, device, torch) else None


def merge_gains(old: BatchGains | None, new: BatchGains) -> BatchGains:
    """The new measurements, and the old ones of other models."""
    if old is None:
        return new
    models = {each.model for each in new.gains}
    kept = (each for each in old.gains if each.model not in models)
    branches = (each for each in old.branches if each.model not in models)
    return replace(new, gains=(*kept, *new.gains), branches=(*branches, *new.branches))
