"""From a validated imageInference task and its pictures to a `RenderRequest`.

Pure: no I/O, no defaults left open, and the decisions that the wire leaves open are made here. Returns the warnings
that the sender should see.
"""

import math
import secrets
from collections.abc import Mapping

from pipelines.catalog import ModelEntry
from pipelines.request import Reference, RenderRequest, Sampler
from server.media.store import Media
from server.runware.schedulers import NEAREST, SAMPLERS
from server.runware.schema import ImageInference

SIDE_STEP, SIDE_MIN, SIDE_MAX = 16, 128, 2048


def image_texts(task: ImageInference) -> dict[str, str]:
    """What names a picture in the task, by the path of its parameter."""
    inputs = task.inputs
    found = {f"inputs.referenceImages[{number}]": text for number, text in enumerate(inputs.referenceImages)}
    found |= {"inputs.seedImage": inputs.seedImage, "inputs.maskImage": inputs.maskImage}
    found |= {f"controlNet[{number}].guideImage": control.guideImage for number, control in enumerate(task.controlNet)}
    return {path: text for path, text in found.items() if text is not None}


def to_request(
    task: ImageInference, entry: ModelEntry, pictures: Mapping[str, Media]
) -> tuple[RenderRequest, tuple[str, ...]]:
    """Resolve everything the task leaves open on this model. `pictures` are those that `image_texts` names."""
    images = {path: Reference(m.path, m.sha256, m.width, m.height) for path, m in pictures.items()}
    references = tuple(image for path, image in images.items() if path.startswith("inputs.referenceImages["))
    width, height = _size(task, entry, references)
    scale = _true_cfg_scale(task, entry)
    request = RenderRequest(
        model=entry.air,
        prompt=task.positivePrompt,
        negative_prompt=task.negativePrompt if scale > 1 else None,
        width=width,
        height=height,
        steps=task.steps or entry.steps,
        sampler=SAMPLERS[task.scheduler] if task.scheduler else Sampler(),
        true_cfg_scale=scale,
        seed=secrets.randbits(32) if task.seed is None else task.seed,
        count=task.numberResults,
        references=references,
    )
    return request, tuple(_warnings(task, scale))


def size_like(width: int, height: int, area: int) -> tuple[int, int]:
    """A size of about `area` pixels with the aspect of width × height, each side a legal one."""
    scale = math.sqrt(area / (width * height))
    return _legal(width * scale), _legal(height * scale)


def _legal(side: float) -> int:
    return min(SIDE_MAX, max(SIDE_MIN, SIDE_STEP * round(side / SIDE_STEP)))


def _size(task: ImageInference, entry: ModelEntry, references: tuple[Reference, ...]) -> tuple[int, int]:
    if task.width is not None and task.height is not None:
        return task.width, task.height
    shown = references[-1]  # with several, diffusers' edit-plus pipeline follows the last one
    return size_like(shown.width, shown.height, entry.output_area)


def _true_cfg_scale(task: ImageInference, entry: ModelEntry) -> float:
    """Qwen-Image has one guidance: settings.trueCFGScale if given, else CFGScale, else the model's default."""
    for scale in (task.settings.trueCFGScale, task.CFGScale):
        if scale is not None:
            return float(scale)
    return entry.true_cfg_scale


def _warnings(task: ImageInference, scale: float) -> list[str]:
    warnings = []
    if nearest := NEAREST.get(task.scheduler or ""):
        warnings.append(
            f"scheduler '{task.scheduler}' has no exact counterpart for flow models: '{nearest}' runs instead."
        )
    if task.negativePrompt is not None and scale <= 1:
        warnings.append("negativePrompt is ignored: guidance is off at a scale of 1 or less.")
    if task.ttl is not None and task.outputType != "URL":
        warnings.append("ttl is ignored: it applies to outputType URL only.")
    if task.inputs.strength is not None:
        warnings.append("inputs.strength is ignored: it applies to a seedImage only.")
    if task.CFGScale is not None and task.settings.trueCFGScale is not None:
        warnings.append("CFGScale is ignored: settings.trueCFGScale is given.")
    return warnings
