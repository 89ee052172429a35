"""Turns a validated imageInference task into a `TaskSpec`: looks up names and translates units.

Pure. Makes the decisions that the wire leaves open (docs/decisions). Knows a picture only as the text that names it.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from pipelines.catalog.catalog import Catalog, ModelEntry
from pipelines.catalog.schedules import differences
from pipelines.request import FaceRefinement, LoraUse, Outpaint, executed_steps
from pipelines.resolver import ResolvedSchedule, resolve_strength
from server.api.access.client import Client
from server.api.runware.parameters import parameter_of
from server.api.runware.schema.objects import ControlNet
from server.api.runware.schema.schedulers import NEAREST
from server.api.runware.schema.tasks import ImageInference
from server.api.runware.translate.caches import choose_cache
from server.api.runware.translate.schedule import lora_schedules, lora_weight, task_schedule
from server.api.runware.translate.windows import step_window
from server.api.urls.image_urls import picture_text
from server.media.encode import Encoding
from server.tasks.options import ThresholdDirection
from server.tasks.spec import ControlSpec, GuardSpec, TaskSpec

DIALECT = "runware"


def to_spec(
    task: ImageInference, entry: ModelEntry, catalog: Catalog, client: Client, direction: ThresholdDirection
) -> TaskSpec:
    """The spec of a task that `check.rules` has accepted for this model."""
    schedule = task_schedule(task, entry, catalog)
    outpaint = Outpaint(**task.outpaint.model_dump()) if task.outpaint else None
    strength = resolve_strength(task.inputs.strength, outpaint)
    steps, scale = schedule.steps, schedule.true_cfg_scale
    executed = executed_steps(steps, None if task.inputs.seedImage is None else strength)
    controls = tuple(_control(control, executed, catalog, client) for control in task.controlNet)
    cache, said = choose_cache(task.acceleratorOptions, executed, direction)
    spec = TaskSpec(
        owner=client.owner,
        dialect=DIALECT,
        task_id=task.taskUUID,
        task=task.model_dump(mode="json", exclude_unset=True),
        wait=task.deliveryMethod == "sync",
        model=entry,
        prompt=task.positivePrompt,
        negative_prompt=task.negativePrompt if scale > 1 else None,
        steps=steps,
        sampler=schedule.sampler,
        true_cfg_scale=scale,
        encoding=Encoding(task.outputFormat, task.outputQuality),
        ttl=task.ttl if task.outputType == "URL" else None,
        width=task.width,
        height=task.height,
        seed=task.seed,
        count=task.numberResults,
        references=tuple(picture_text(text, client.base_url) for text in task.inputs.referenceImages),
        seed_image=picture_text(task.inputs.seedImage, client.base_url) if task.inputs.seedImage else None,
        strength=strength,
        mask=picture_text(task.inputs.maskImage, client.base_url) if task.inputs.maskImage else None,
        mask_margin=task.maskMargin,
        outpaint=outpaint,
        loras=_loras(task, catalog),
        controls=controls,
        faces=_faces(task),
        cache=cache,
        guard=_guard(task, client),
        check_content=_check_content(task),
        priority=task.ownware.priority,
        warnings=(*_warnings(task, entry, schedule, executed, controls, catalog), *said),
    )
    parameters = {path: parameter_of(path) for path in (*spec.pictures, "webhook", "upload", "check_content")}
    return replace(spec, parameters=parameters | {"cache": "acceleratorOptions.teaCache"})


def control_window(control: ControlNet, steps: int) -> tuple[int, int]:
    """The executed steps start ≤ step < end of `steps` in which a ControlNet acts."""
    steps_given = (control.startStep, control.endStep)
    return step_window(steps, steps_given, (control.startStepPercentage, control.endStepPercentage), (0, steps))


def _check_content(task: ImageInference) -> bool | None:
    """None when the task does not say."""
    asked = {"checkContent", "mode"} & task.safety.model_fields_set
    return task.safety.checkContent or task.safety.mode != "none" if asked else None


def _guard(task: ImageInference, client: Client) -> GuardSpec | None:
    """The drift guard of a task, None when it asks for nothing."""
    asked, keep = task.ownware, task.ownware.keepUnchanged
    if asked.alignTo is None and keep is None:
        return None
    reference = None if task.inputs.seedImage is not None else 0
    if isinstance(asked.alignTo, int):
        reference = asked.alignTo
    mask = None if keep is None or keep == "auto" else picture_text(keep, client.base_url)
    return GuardSpec(reference, asked.alignTo is not None, keep == "auto", mask)


def _loras(task: ImageInference, catalog: Catalog) -> tuple[LoraUse, ...]:
    """The LoRAs of a task, in its order. `transformer` has no effect: these models have one."""
    uses = []
    for asked in task.lora:
        if (row := catalog.find_lora(asked.model)) is None:
            raise LookupError(f"LoRA {asked.model} was there when the task was checked")
        uses.append(LoraUse(asked.model, Path(row.weights), lora_weight(asked, row)))
    return tuple(uses)


def _faces(task: ImageInference) -> FaceRefinement | None:
    """The face refinement of a task. Its prompts are the task's unless it has others."""
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


def _control(control: ControlNet, executed: int, catalog: Catalog, client: Client) -> ControlSpec:
    if (row := catalog.find_controlnet(control.model)) is None:
        raise LookupError(f"ControlNet {control.model} was there when the task was checked")
    start, end = control_window(control, executed)
    return ControlSpec(
        name=control.model,
        weights=row.weights,
        image=picture_text(control.guideImage, client.base_url),
        weight=row.weight if control.weight is None else control.weight,
        mode=control.controlMode,
        start=start,
        end=end,
    )


def _warnings(
    task: ImageInference,
    entry: ModelEntry,
    schedule: ResolvedSchedule,
    executed: int,
    controls: tuple[ControlSpec, ...],
    catalog: Catalog,
) -> Iterator[str]:
    if nearest := NEAREST.get(task.scheduler or ""):
        yield f"scheduler '{task.scheduler}' has no exact counterpart for flow models: '{nearest}' runs instead."
    if task.negativePrompt is not None and schedule.true_cfg_scale <= 1:
        yield "negativePrompt is ignored: guidance is off at a scale of 1 or less."
    if task.safety.mode == "full":
        yield "safety.mode 'full' is for videos: images are checked as with 'fast'."
    if task.ttl is not None and task.outputType != "URL":
        yield "ttl is ignored: it applies to outputType URL only."
    if task.CFGScale is not None and task.settings.trueCFGScale is not None:
        yield "CFGScale is ignored: settings.trueCFGScale is given."
    for number, made_for in lora_schedules(task, catalog).items():
        for difference in differences(made_for, schedule.steps, schedule.true_cfg_scale):
            yield f"lora[{number}] {difference}"
    for difference in differences(entry.made_for, schedule.steps, schedule.true_cfg_scale):
        yield f"The model '{entry.air}' {difference}"
    for number, control in enumerate(controls):
        if control.start >= control.end:
            yield f"controlNet[{number}] acts in none of the executed steps."
    if task.inputs.seedImage is None and task.inputs.strength is not None:
        yield "inputs.strength is ignored: it applies to a seedImage only."
    if task.inputs.seedImage is not None and executed == 0:
        yield "inputs.strength is 0, so nothing is rendered: the seed image is returned."
