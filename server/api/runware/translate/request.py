"""From a validated imageInference task and its pictures to a `RenderRequest`.

Pure: no I/O, no defaults left open, and the decisions that the wire leaves open are made here. Returns the warnings
that the sender should see.
"""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from pipelines.catalog.catalog import Catalog, ModelEntry
from pipelines.catalog.profiles import CalibrationKey, Profiles
from pipelines.catalog.schedules import differences
from pipelines.limits import DEFAULT_STRENGTH, same_aspect
from pipelines.request import ControlUse, FaceRefinement, LoraUse, Outpaint, Reference, RenderRequest
from pipelines.sizes import edit_size
from server.api.runware.schema.objects import ControlNet
from server.api.runware.schema.schedulers import NEAREST
from server.api.runware.schema.tasks import ImageInference
from server.api.runware.translate.caches import ThresholdDirection, cache_plan
from server.api.runware.translate.schedule import lora_schedules, lora_weight, resolve_schedule
from server.api.runware.translate.windows import step_window
from server.media.store import Media


def image_texts(task: ImageInference) -> dict[str, str]:
    """What names a picture in the task, by the path of its parameter."""
    inputs = task.inputs
    found = {f"inputs.referenceImages[{number}]": text for number, text in enumerate(inputs.referenceImages)}
    found |= {"inputs.seedImage": inputs.seedImage, "inputs.maskImage": inputs.maskImage}
    found |= {f"controlNet[{number}].guideImage": control.guideImage for number, control in enumerate(task.controlNet)}
    return {path: text for path, text in found.items() if text is not None}


def to_request(
    task: ImageInference,
    entry: ModelEntry,
    pictures: Mapping[str, Media],
    catalog: Catalog,
    threshold_direction: ThresholdDirection = "documented",
    profiles: Profiles | None = None,
) -> tuple[RenderRequest, tuple[str, ...]]:
    """Resolve everything the task leaves open on this model. `pictures` are those that `image_texts` names.

    What the task adds to the model is in the catalogue: `rules` has seen to that. TeaCache runs with `profiles`, of
    which there are those that come with the code when none are given.
    """
    images = {path: Reference(m.path, m.sha256, m.width, m.height) for path, m in pictures.items()}
    references = tuple(image for path, image in images.items() if path.startswith("inputs.referenceImages["))
    seed_image = images.get("inputs.seedImage")
    width, height = _size(task, entry, references, seed_image)
    schedule = resolve_schedule(task, entry, catalog)
    scale = schedule.true_cfg_scale
    request = RenderRequest(
        model=entry.air,
        prompt=task.positivePrompt,
        negative_prompt=task.negativePrompt if scale > 1 else None,
        width=width,
        height=height,
        steps=schedule.steps,
        sampler=schedule.sampler,
        true_cfg_scale=scale,
        seed=secrets.randbits(32) if task.seed is None else task.seed,
        count=task.numberResults,
        references=references,
        seed_image=seed_image,
        strength=_strength(task),
        mask=images.get("inputs.maskImage"),
        mask_margin=task.maskMargin,
        outpaint=Outpaint(**task.outpaint.model_dump()) if task.outpaint else None,
        faces=_faces(task),
        loras=_loras(task, catalog),
    )
    executed = request.executed_steps
    render = CalibrationKey(request.steps, scale > 1, entry.native_area or width * height, loras=bool(request.loras))
    figures = partial((profiles or Profiles(catalog)).choose, entry, render)
    cache, said = cache_plan(task.acceleratorOptions, entry, executed, threshold_direction, figures)
    request = replace(request, controls=_controls(task, executed, images, catalog), cache=cache)
    return request, (*_warnings(task, request, catalog), *said)


def control_window(control: ControlNet, steps: int) -> tuple[int, int]:
    """The executed steps start ≤ step < end of `steps` in which a ControlNet acts."""
    steps_given = (control.startStep, control.endStep)
    return step_window(steps, steps_given, (control.startStepPercentage, control.endStepPercentage), (0, steps))


def _size(
    task: ImageInference, entry: ModelEntry, references: tuple[Reference, ...], seed_image: Reference | None
) -> tuple[int, int]:
    if task.width is not None and task.height is not None:
        return task.width, task.height
    if task.outpaint is not None and seed_image is not None:
        sides = task.outpaint
        return seed_image.width + sides.left + sides.right, seed_image.height + sides.top + sides.bottom
    shown = references[-1]  # with several, diffusers' edit-plus pipeline follows the last one
    return edit_size(shown.width, shown.height, entry)


def _strength(task: ImageInference) -> float:
    """Of a seed image; what outpainting adds has nothing to keep, so it is drawn from noise unless the task says."""
    if task.inputs.strength is not None:
        return task.inputs.strength
    return 1.0 if task.outpaint else DEFAULT_STRENGTH


def _loras(task: ImageInference, catalog: Catalog) -> tuple[LoraUse, ...]:
    """What `lora` names, in its order; `transformer` tells two transformers apart, and these models have one."""
    uses = []
    for asked in task.lora:
        if (row := catalog.find_lora(asked.model)) is None:
            raise LookupError(f"LoRA {asked.model} was there when the task was checked")
        uses.append(LoraUse(asked.model, Path(row.weights), lora_weight(asked, row)))
    return tuple(uses)


def _faces(task: ImageInference) -> FaceRefinement | None:
    """With the task's own prompts unless the refinement has others."""
    asked = task.advancedFeatures.ultralytics
    if asked is None:
        return None
    return FaceRefinement(
        prompt=asked.positivePrompt or task.positivePrompt,
        negative_prompt=asked.negativePrompt or task.negativePrompt,
        true_cfg_scale=asked.CFGScale,
        confidence=asked.confidence,
        mask_padding=asked.maskPadding,
        mask_blur=asked.maskBlur,
        steps=asked.steps,
        strength=asked.strength,
    )


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
                control_image=images[f"controlNet[{number}].guideImage"],
                weight=row.weight if control.weight is None else control.weight,
                mode=control.controlMode,
                start=start,
                end=end,
            )
        )
    return tuple(uses)


def _warnings(task: ImageInference, request: RenderRequest, catalog: Catalog) -> Iterator[str]:
    if nearest := NEAREST.get(task.scheduler or ""):
        yield f"scheduler '{task.scheduler}' has no exact counterpart for flow models: '{nearest}' runs instead."
    if task.negativePrompt is not None and request.true_cfg_scale <= 1:
        yield "negativePrompt is ignored: guidance is off at a scale of 1 or less."
    if task.ttl is not None and task.outputType != "URL":
        yield "ttl is ignored: it applies to outputType URL only."
    if task.CFGScale is not None and task.settings.trueCFGScale is not None:
        yield "CFGScale is ignored: settings.trueCFGScale is given."
    for number, schedule in lora_schedules(task, catalog).items():
        for difference in differences(schedule, request.steps, request.true_cfg_scale):
            yield f"lora[{number}] {difference}"
    for number, control in enumerate(request.controls):
        if control.start >= control.end:
            yield f"controlNet[{number}] acts in none of the executed steps."
        yield from _stretched(f"controlNet[{number}].guideImage", control.control_image, request)
    seed = request.seed_image
    if seed is None:
        if task.inputs.strength is not None:
            yield "inputs.strength is ignored: it applies to a seedImage only."
        return
    if request.executed_steps == 0:
        yield "inputs.strength is 0, so nothing is drawn: the seed image is returned."
    if request.outpaint is None:
        yield from _stretched("inputs.seedImage", seed, request)


def _stretched(name: str, image: Reference, request: RenderRequest) -> Iterator[str]:
    """Warn when an image that covers the whole picture has another aspect."""
    if not same_aspect(image.width, image.height, request.width, request.height):
        size = f"{request.width}×{request.height}"
        yield f"{name} is {image.width}×{image.height} pixels, so it is stretched to {size}."
