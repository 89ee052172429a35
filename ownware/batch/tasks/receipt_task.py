"""From the receipt of a picture to the task that makes it again.

Files are found on this machine by their SHA-256. Names what cannot be said in a task. Knows the wire; loads no model.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ownware.batch.item import BatchError, WireTask
from pipelines.receipt import Receipt
from pipelines.request import DriftGuard, Reference, RenderRequest, Sampler
from server.api.runware.schema.schedulers import SAMPLERS
from server.api.runware.translate.caches import CACHES, FIXED_POINT, MOST_REUSE
from server.tasks.options import ThresholdDirection

FindPicture = Callable[[Reference], Path]


def task_of_receipt(
    receipt: Receipt, own_loras: frozenset[str], find: FindPicture, direction: ThresholdDirection
) -> tuple[WireTask, tuple[str, ...]]:
    """The task of a receipt, and notes on what it does not hold.

    `own_loras` are the names of the model's own LoRAs, which it brings by itself. Raises `BatchError`.
    """
    request = receipt.request
    task: WireTask = {
        "model": request.model,
        "positivePrompt": request.prompt,
        "width": request.width,
        "height": request.height,
        "steps": request.steps,
        "seed": request.seed,
        "scheduler": _scheduler(request.sampler),
        "settings": {"trueCFGScale": request.true_cfg_scale},
    }
    if request.negative_prompt is not None:
        task["negativePrompt"] = request.negative_prompt
    if inputs := _inputs(request, find):
        task["inputs"] = inputs
    if request.mask_margin is not None:
        task["maskMargin"] = request.mask_margin
    if (sides := request.outpaint) is not None:
        names = ("top", "right", "bottom", "left", "blur")
        task["outpaint"] = {name: getattr(sides, name) for name in names}
    if request.guard is not None:
        task["ownware"] = _guard(request.guard, find)
    if loras := [{"model": use.name, "weight": use.weight} for use in request.loras if use.name not in own_loras]:
        task["lora"] = loras
    if request.controls:
        task["controlNet"] = [
            {
                "model": use.name,
                "guideImage": str(find(use.control_image)),
                "weight": use.weight,
                "controlMode": use.mode,
                "startStep": use.start,
                "endStep": use.end,
            }
            for use in request.controls
        ]
    notes = []
    if request.cache is not None:
        cache = _cache(request, direction)
        if cache is None:
            notes.append(f"the step cache {request.cache.strategy} of the receipt is left out: name one with a flag")
        else:
            task["acceleratorOptions"] = cache
    if request.faces is not None:
        notes.append("the refinement of faces is left out")
    if request.watermark is not None:
        notes.append("the watermark is left out")
    return task, tuple(notes)


def _inputs(request: RenderRequest, find: FindPicture) -> dict[str, Any]:
    inputs: dict[str, Any] = {}
    if request.references:
        inputs["referenceImages"] = [str(find(reference)) for reference in request.references]
    if request.seed_image is not None:
        inputs |= {"seedImage": str(find(request.seed_image)), "strength": request.strength}
    if request.mask is not None:
        inputs["maskImage"] = str(find(request.mask))
    return inputs


def _guard(guard: DriftGuard, find: FindPicture) -> dict[str, Any]:
    own: dict[str, Any] = {}
    if guard.align:
        own["alignTo"] = "seedImage" if guard.reference is None else guard.reference
    if guard.keep is not None:
        own["keepUnchanged"] = str(find(guard.keep)) if isinstance(guard.keep, Reference) else guard.keep
    return own


def _scheduler(sampler: Sampler) -> str:
    """The first name of the wire with this solver and schedule; other names of it mean the same."""
    for name, listed in SAMPLERS.items():
        if (listed.solver, listed.schedule) == (sampler.solver, sampler.schedule):
            return name
    raise BatchError(f"the receipt's solver {sampler.solver} on the schedule {sampler.schedule} has no scheduler name")


def _cache(request: RenderRequest, direction: ThresholdDirection) -> dict[str, Any] | None:
    """The options of a cache. None where the wire cannot say it: TeaCache's threshold is that of a profile."""
    plan = request.cache
    switch = next((wire for wire, name in CACHES.items() if plan is not None and name == plan.strategy), None)
    if plan is None or switch is None or switch == "teaCache":
        return None
    options = {
        switch: True,
        f"{switch}Threshold": round(_wire_threshold(plan.threshold, direction), 2),
        "cacheStartStep": plan.start,
        "cacheEndStep": plan.end,
        "cacheMaxConsecutiveSteps": plan.max_run,
    }
    if switch == "dbCache":
        options["dbCacheSkipInterval"] = plan.max_run
    return options


def _wire_threshold(threshold: float, direction: ThresholdDirection) -> float:
    """The inverse of `residual_threshold`."""
    if direction == "library":
        return threshold
    if threshold >= FIXED_POINT:
        return (MOST_REUSE - threshold) * FIXED_POINT / (MOST_REUSE - FIXED_POINT)
    return 1 - threshold * (1 - FIXED_POINT) / FIXED_POINT
