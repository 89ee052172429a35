"""From a validated imageInference task and its pictures to a `RenderRequest`.

Pure: no I/O, no defaults left open, and the decisions that the wire leaves open are made here. Returns the warnings
that the sender should see.
"""

import math
import secrets
from collections.abc import Mapping

from pipelines.catalog import Catalog, ModelEntry
from pipelines.request import ControlUse, Reference, RenderRequest, Sampler
from server.media.store import Media
from server.runware.schedulers import SAMPLERS
from server.runware.schema import ControlNet, ImageInference

SIDE_STEP, SIDE_MIN, SIDE_MAX = 16, 128, 2048


def image_texts(task: ImageInference) -> dict[str, str]:
    """What names a picture in the task, by the path of its parameter."""
    inputs = task.inputs
    found = {f"inputs.referenceImages[{number}]": text for number, text in enumerate(inputs.referenceImages)}
    found |= {"inputs.seedImage": inputs.seedImage, "inputs.maskImage": inputs.maskImage}
    found |= {f"controlNet[{number}].guideImage": control.guideImage for number, control in enumerate(task.controlNet)}
    return {path: text for path, text in found.items() if text is not None}


def to_request(
    task: ImageInference, entry: ModelEntry, pictures: Mapping[str, Media], catalog: Catalog
) -> tuple[RenderRequest, tuple[str, ...]]:
    """Resolve everything the task leaves open on this model. `pictures` are those that `image_texts` names.

    What the task adds to the model is in the catalogue: `rules` has seen to that.
    """
    images = {path: Reference(m.path, m.sha256, m.width, m.height) for path, m in pictures.items()}
    references = tuple(image for path, image in images.items() if path.startswith("inputs.referenceImages["))
    width, height = _size(task, entry, references)
    scale = _true_cfg_scale(task, entry)
    steps = task.steps or entry.steps
    controls = _controls(task, steps, images, catalog)
    request = RenderRequest(
        model=entry.air,
        prompt=task.positivePrompt,
        negative_prompt=task.negativePrompt if scale > 1 else None,
        width=width,
        height=height,
        steps=steps,
        sampler=SAMPLERS[task.scheduler] if task.scheduler else Sampler(),
        true_cfg_scale=scale,
        seed=secrets.randbits(32) if task.seed is None else task.seed,
        count=task.numberResults,
        references=references,
        controls=controls,
    )
    return request, (*_warnings(task, scale), *_idle_controls(controls))


def control_window(control: ControlNet, steps: int) -> tuple[int, int]:
    """The executed steps start ≤ step < end of `steps` in which a ControlNet acts.

    A percentage takes in every step that it touches.
    """
    start, end = control.startStep or 0, control.endStep or steps
    if control.startStepPercentage is not None:
        start = steps * control.startStepPercentage // 100
    if control.endStepPercentage is not None:
        end = -(-steps * control.endStepPercentage // 100)  # rounded up
    return start, min(end, steps)


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


def _controls(
    task: ImageInference, steps: int, images: Mapping[str, Reference], catalog: Catalog
) -> tuple[ControlUse, ...]:
    uses = []
    for number, control in enumerate(task.controlNet):
        row = catalog.find_controlnet(control.model)
        if row is None:
            raise LookupError(f"{control.model} is not in the catalogue")
        start, end = control_window(control, steps)
        uses.append(
            ControlUse(
                name=control.model,
                weights=row.weights,
                guide=images[f"controlNet[{number}].guideImage"],
                weight=row.weight if control.weight is None else control.weight,
                mode=control.controlMode,
                start=start,
                end=end,
            )
        )
    return tuple(uses)


def _idle_controls(controls: tuple[ControlUse, ...]) -> list[str]:
    return [
        f"controlNet[{number}] acts in none of the executed steps."
        for number, control in enumerate(controls)
        if control.start >= control.end
    ]


def _warnings(task: ImageInference, scale: float) -> list[str]:
    warnings = []
    if task.negativePrompt is not None and scale <= 1:
        warnings.append("negativePrompt is ignored: guidance is off at a scale of 1 or less.")
    if task.ttl is not None and task.outputType != "URL":
        warnings.append("ttl is ignored: it applies to outputType URL only.")
    if task.inputs.strength is not None:
        warnings.append("inputs.strength is ignored: it applies to a seedImage only.")
    if task.CFGScale is not None and task.settings.trueCFGScale is not None:
        warnings.append("CFGScale is ignored: settings.trueCFGScale is given.")
    return warnings
