"""How many images of a task are advanced in one pass over the blocks: as many as a measurement on this device allows.

`ownware bench batching` measures and writes the file. Without it images are advanced one after the other. Knows
requests and numbers; imports no torch.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from pipelines.models.planning.workload import Workload
from pipelines.request import RenderRequest

FORMAT = 1
# Below this a gain is not worth that the first image comes later.
LEAST_GAIN = 1.05
# The largest difference of the latents, relative to their norm, that rounding on a GPU explains.
GPU_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class BatchGain:
    """A measurement: how many times as fast `images` of a size are together, and how far their latents then differ.

    `difference` is relative to the norm of the latents.
    """

    model: str
    width: int
    height: int
    images: int
    gain: float
    difference: float

    def pays(self, *, on_gpu: bool) -> bool:
        """Whether images may be advanced together. On a CPU not one bit may differ."""
        return self.gain >= LEAST_GAIN and self.difference <= (GPU_TOLERANCE if on_gpu else 0.0)


@dataclass(frozen=True, slots=True)
class BatchGains:
    """The measurements of one device, with one version of torch."""

    device: str
    torch: str
    gains: tuple[BatchGain, ...]
    format: int = FORMAT

    def images_together(self, request: RenderRequest, *, on_gpu: bool) -> int:
        """The most images of a request that are faster together. A larger size than the measured ones gains less.

        Step caches decide for each image, and ControlNets and LoRAs act between the blocks: these images go alone.
        """
        if request.cache is not None or request.controls or request.loras or request.faces is not None:
            return 1
        tokens = Workload(request.width, request.height).tokens
        return max(
            (
                each.images
                for each in self.gains
                if each.model.lower() == request.model.lower()
                and Workload(each.width, each.height).tokens >= tokens
                and each.pays(on_gpu=on_gpu)
            ),
            default=1,
        )


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
    models = {each.model for each in new.gains}
    kept = [] if old is None else [each for each in old.gains if each.model not in models]
    return BatchGains(new.device, new.torch, (*kept, *new.gains))
