"""From the options of the Python API to a `RenderRequest`: checks every option and resolves every default.

The defaults are those of the server, so that equal tasks give equal bytes. Imports no torch.
"""

import difflib
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from accel.cache.plan import CachePlan
from accel.validation_message import validation_message
from ownware.images.inputs import ImageInputs
from ownware.images.options import Control, ImageOptions, LoraChoice
from ownware.local_models import LocalModels
from ownware.options import OptionError, default_side, number, side, whole_number
from pipelines.catalog.catalog import LORA_ARCHITECTURES, REFERENCES, Catalog, ModelEntry, reference_limits
from pipelines.catalog.profiles import Profiles
from pipelines.catalog.schedules import (
    LoraSchedule,
    ScheduleConflict,
    differences,
    file_schedule,
)
from pipelines.catalog.templates import find_control_token
from pipelines.limits import (
    MAX_ADAPTER_WEIGHT,
    MAX_MASK_MARGIN,
    MAX_PROMPT,
    MAX_SEED,
    MAX_STEPS,
    MAX_TRUE_CFG_SCALE,
    MIN_MASK_MARGIN,
)
from pipelines.request import (
    ControlMode,
    ControlUse,
    DriftGuard,
    LoraUse,
    Reference,
    RenderRequest,
    Sampler,
    SolverName,
)
from pipelines.resolver import (
    ResolvedSchedule,
    calibration_key,
    extended_size,
    prompt_remark,
    resolve_schedule,
    resolve_strength,
    size_from_pictures,
    stretched_pictures,
)
from pipelines.sizes import same_aspect, size_like
from server.api.runware.schema.objects import AcceleratorOptions
from server.api.runware.schema.schedulers import NEAREST, SAMPLERS, scheduler_name
from server.api.runware.translate.caches import CACHES, cache_plan
from server.settings import Settings


def build_request(
    options: ImageOptions, models: LocalModels, settings: Settings, inputs: ImageInputs
) -> tuple[RenderRequest, ModelEntry, tuple[str, ...]]:
    """The resolved request, its model, and the warnings. Raises `OptionError`, or `ProfileError` on a bad profile."""
    entry = _find_model(options, models)
    _check_prompt("prompt", options.prompt)
    _check_prompt("negative_prompt", options.negative_prompt or "-")
    references = tuple(inputs.reference(f"images[{n}]", image) for n, image in enumerate(options.images))
    seed_image = None if options.seed_image is None else inputs.reference("seed_image", options.seed_image)
    mask = None if options.mask is None else inputs.reference("mask", options.mask)
    _check_painting(options, seed_image, mask)
    width, height = _size(options, entry, references, seed_image)
    loras = {n: _lora(f"loras[{n}]", choice, models.catalog) for n, choice in enumerate(options.loras)}
    schedules = {n: schedule for n, (use, schedule) in loras.items() if schedule is not None and use.weight != 0}
    schedule = _schedule(options, entry, schedules)
    scale = schedule.true_cfg_scale
    strength = None if options.strength is None else number("strength", options.strength, 0, 1)
    request = RenderRequest(
        model=entry.air,
        prompt=options.prompt,
        negative_prompt=options.negative_prompt if scale > 1 else None,
        width=width,
        height=height,
        steps=schedule.steps,
        sampler=schedule.sampler,
        true_cfg_scale=scale,
        seed=secrets.randbits(32) if options.seed is None else whole_number("seed", options.seed, 0, MAX_SEED),
        references=references,
        seed_image=seed_image,
        strength=resolve_strength(strength, options.outpaint),
        mask=mask,
        mask_margin=options.mask_margin,
        outpaint=options.outpaint,
        loras=tuple(use for use, _ in loras.values()),
        guard=_guard(options, inputs),
    )
    controls = tuple(
        _control(f"controls[{n}]", control, request.executed_steps, models.catalog, inputs)
        for n, control in enumerate(options.controls)
    )
    cache, cache_warnings = _cache(options.cache, request, entry, models.catalog, settings)
    request = replace(request, controls=controls, cache=cache)
    return request, entry, (*_warnings(options, request, entry, schedules), *cache_warnings)


def _find_model(options: ImageOptions, models: LocalModels) -> ModelEntry:
    """The named model, or the first that takes this number of images."""
    count = len(options.images)
    if options.model is not None:
        entry = models.entry("model", options.model)
        names = [choice[0] if isinstance(choice, tuple) else choice for choice in options.loras]
        rows = [models.catalog.find_lora(str(name)) for name in names]
        minimum, maximum = reference_limits(entry, [row for row in rows if row is not None])
        if not minimum <= count <= maximum:
            takes = f"{minimum}" if minimum == maximum else f"{minimum} to {maximum}"
            raise OptionError("model", f"{entry.air} takes {takes} images to edit, {count} were given")
        return entry
    for entry in models.catalog.entries:
        minimum, maximum = REFERENCES[entry.mode]
        if minimum <= count <= maximum:
            return entry
    raise OptionError("model", f"the catalogue has no model that takes {count} images to edit")


def _check_prompt(option: str, text: str) -> None:
    if not isinstance(text, str) or not 1 <= len(text) <= MAX_PROMPT:
        raise OptionError(option, f"must be a text of 1 to {MAX_PROMPT} characters")
    if token := find_control_token(text):
        raise OptionError(option, f"'{token}' is a control token of the model, not text")


def _check_painting(options: ImageOptions, seed_image: Reference | None, mask: Reference | None) -> None:
    for option, value, needed, there in (
        ("mask", mask, "seed_image", seed_image),
        ("outpaint", options.outpaint, "seed_image", seed_image),
        ("strength", options.strength, "seed_image", seed_image),
        ("mask_margin", options.mask_margin, "mask", mask),
    ):
        if value is not None and there is None:
            raise OptionError(option, f"needs {needed}")
    if options.mask_margin is not None:
        whole_number("mask_margin", options.mask_margin, MIN_MASK_MARGIN, MAX_MASK_MARGIN)
    if mask is not None and seed_image is not None:
        sizes = (mask.width, mask.height), (seed_image.width, seed_image.height)
        if not same_aspect(*sizes[0], *sizes[1]):
            both = " and ".join(f"{width}×{height}" for width, height in sizes)
            raise OptionError("mask", f"the mask and seed_image must have the same aspect; they have {both} pixels")


def _size(
    options: ImageOptions, entry: ModelEntry, references: tuple[Reference, ...], seed_image: Reference | None
) -> tuple[int, int]:
    """Width and height: the given ones, else those of the extended image, else like an input image."""
    given = options.width, options.height
    if (options.width is None) != (options.height is None):
        raise OptionError("width" if options.width is None else "height", "give both width and height, or neither")
    if options.outpaint is not None and seed_image is not None:
        extended = extended_size(seed_image, options.outpaint)
        if extended == (seed_image.width, seed_image.height) or given not in ((None, None), extended):
            raise OptionError("outpaint", f"extends seed_image to {extended[0]}×{extended[1]} pixels, not to {given}")
        return side("outpaint", extended[0]), side("outpaint", extended[1])
    if options.width is not None and options.height is not None:
        return side("width", options.width), side("height", options.height)
    if (size := size_from_pictures(entry, references, seed_image, None)) is not None:
        return size
    default = default_side(entry)
    return (default, default) if seed_image is None else size_like(seed_image.width, seed_image.height, default**2)


def _schedule(options: ImageOptions, entry: ModelEntry, loras: Mapping[int, LoraSchedule]) -> ResolvedSchedule:
    scale = options.true_cfg_scale
    try:
        return resolve_schedule(
            entry,
            loras,
            steps=None if options.steps is None else whole_number("steps", options.steps, 1, MAX_STEPS),
            true_cfg_scale=None if scale is None else number("true_cfg_scale", scale, 0, MAX_TRUE_CFG_SCALE),
            sampler=None if options.scheduler is None else _named_sampler(options.scheduler),
        )
    except ScheduleConflict as conflict:
        message = f"cannot act together with loras[{conflict.first}]: {conflict}"
        raise OptionError(f"loras[{conflict.second}]", message) from conflict


def _named_sampler(name: str) -> Sampler:
    """The sampler of a wire name such as `DPM++ 2M Karras`, or of a solver such as `dpmpp_2m`."""
    if (listed := scheduler_name(name)) is not None:
        return SAMPLERS[listed]
    solvers: dict[str, SolverName] = {solver: solver for solver in get_args(SolverName)}
    if name in solvers:
        return Sampler(solvers[name])
    near = difflib.get_close_matches(name, [*SAMPLERS, *solvers], n=1)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    raise OptionError("scheduler", f"'{name}' is no scheduler and no solver{hint}")


def _lora(option: str, choice: LoraChoice, catalog: Catalog) -> tuple[LoraUse, LoraSchedule | None]:
    name, weight = choice if isinstance(choice, tuple) else (choice, None)
    row = catalog.find_lora(str(name))
    path = Path(name).expanduser()
    if row is not None and row.architecture not in LORA_ARCHITECTURES:
        raise OptionError(option, f"'{name}' is a LoRA of the architecture '{row.architecture}', which does not fit")
    if row is None and not path.is_file():
        known = ", ".join(row.air for row in catalog.loras) or "none"
        raise OptionError(option, f"'{name}' is no file and not among the LoRAs of the catalogue: {known}")
    if weight is None:
        weight = 1.0 if row is None else row.weight
    weight = number(option, weight, -MAX_ADAPTER_WEIGHT, MAX_ADAPTER_WEIGHT)
    if row is None:
        return LoraUse(path.stem, path.absolute(), weight), file_schedule(str(path.absolute()))
    return LoraUse(str(name), Path(row.weights), weight), row.schedule


def _guard(options: ImageOptions, inputs: ImageInputs) -> DriftGuard | None:
    align, keep = options.align_to, options.keep_unchanged
    for option, value in (("align_to", align), ("keep_unchanged", keep)):
        if value is None:
            continue
        if options.seed_image is None and not options.images:
            raise OptionError(option, "needs a picture to compare with: an image to edit, or seed_image")
        if options.outpaint is not None:
            raise OptionError(option, "cannot be used with outpaint")
    if align is None and keep is None:
        return None
    if align not in (None, "auto", "seed_image"):
        if not options.images:
            raise OptionError("align_to", "is a number, but there are no images to edit")
        reference = whole_number("align_to", align, 0, len(options.images) - 1)
    elif align == "seed_image" and options.seed_image is None:
        raise OptionError("align_to", "needs seed_image")
    else:
        reference = None if options.seed_image is not None else 0
    mask = None if keep is None or keep == "auto" else inputs.reference("keep_unchanged", keep)
    return DriftGuard(reference, align is not None, "auto" if keep == "auto" else mask)


def _control(option: str, control: Control, steps: int, catalog: Catalog, inputs: ImageInputs) -> ControlUse:
    row = catalog.find_controlnet(control.model)
    if row is None:
        known = ", ".join(row.air for row in catalog.controlnets) or "none"
        raise OptionError(option, f"'{control.model}' is not among the ControlNets of the catalogue: {known}")
    if control.mode not in get_args(ControlMode):
        raise OptionError(option, f"'{control.mode}' is none of {', '.join(get_args(ControlMode))}")
    weight = row.weight if control.weight is None else control.weight
    end = steps if control.end is None else whole_number(option, control.end, 1, MAX_STEPS)
    return ControlUse(
        name=control.model,
        weights=row.weights,
        control_image=inputs.reference(f"{option}.image", control.image),
        weight=number(option, weight, -MAX_ADAPTER_WEIGHT, MAX_ADAPTER_WEIGHT),
        mode=control.mode,
        start=whole_number(option, control.start, 0, MAX_STEPS),
        end=min(end, steps),
    )


def _cache(
    given: Mapping[str, object] | None,
    request: RenderRequest,
    entry: ModelEntry,
    catalog: Catalog,
    settings: Settings,
) -> tuple[CachePlan | None, tuple[str, ...]]:
    """The plan of `acceleratorOptions`, as `ownware bench recommend` prints them."""
    if given is None:
        return None, ()
    try:
        options = AcceleratorOptions.model_validate(given)
    except ValidationError as error:
        raise OptionError("cache", validation_message(error)) from error
    if sum(getattr(options, name) for name in CACHES) > 1:
        raise OptionError("cache", f"only one of {', '.join(CACHES)} can be used at a time")
    size = request.width, request.height
    key = calibration_key(entry, request.steps, request.true_cfg_scale, size, loras=bool(request.loras))
    params = partial(Profiles(catalog, settings.profiles).choose, entry, key)
    return cache_plan(options, entry, request.executed_steps, settings.threshold_direction, params)


def _warnings(
    options: ImageOptions, request: RenderRequest, entry: ModelEntry, schedules: Mapping[int, LoraSchedule]
) -> Iterator[str]:
    if (remark := prompt_remark(entry, "prompt", options.prompt)) is not None:
        yield remark
    for n, schedule in schedules.items():
        yield from (f"loras[{n}] {text}" for text in differences(schedule, request.steps, request.true_cfg_scale))
    for text in differences(entry.made_for, request.steps, request.true_cfg_scale):
        yield f"model '{entry.air}' {text}"
    nearest = NEAREST.get(scheduler_name(options.scheduler or "") or "")
    if nearest is not None:
        yield f"scheduler '{options.scheduler}' has no exact counterpart for flow models: '{nearest}' runs instead."
    if options.negative_prompt is not None and request.true_cfg_scale <= 1:
        yield "negative_prompt is ignored: guidance is off at a scale of 1 or less."
    for n, control in enumerate(request.controls):
        if control.start >= control.end:
            yield f"controls[{n}] acts in none of the executed steps."
    for path, image in stretched_pictures(request):
        name = path.replace(".control_image", ".image")
        yield f"{name} has {image.width}×{image.height} pixels: it is stretched to {request.width}×{request.height}."
    if request.seed_image is not None and request.executed_steps == 0:
        yield "strength is 0, so nothing is rendered: the seed image is returned."
