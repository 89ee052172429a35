"""Cross-field validation of imageInference, and validation against the model.

`check` runs the rules and collects the errors. Each rule is a generator of errors. A valid parameter without effect is
refused by name: an error is better than a parameter that is silently ignored.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import islice

from pipelines.catalog.catalog import Catalog, ModelEntry
from pipelines.catalog.schedules import ScheduleConflict
from server.api.runware.check.validation import MAX_FINDINGS, describe, expectation
from server.api.runware.schema.tasks import ImageInference
from server.api.runware.translate.caches import CACHES
from server.api.runware.translate.schedule import resolve_steps, task_schedule
from server.errors import (
    ApiError,
    IncompatibleParameters,
    InvalidParameter,
    MissingParameter,
    TaskRejected,
    UnsupportedParameter,
)
from server.tasks.plain.rules import check_loras, check_prompts, check_references, lora_conflict

Rule = Callable[[ImageInference, ModelEntry, Catalog], Iterator[ApiError]]


def check(task: ImageInference, entry: ModelEntry, catalog: Catalog) -> None:
    """Raise `TaskRejected` with what is wrong with the task on this model, up to `MAX_FINDINGS` errors."""
    found = (error for rule in _RULES for error in rule(task, entry, catalog))
    if errors := list(islice(found, MAX_FINDINGS)):
        raise TaskRejected(*errors)


def check_faces(task: ImageInference, *, refined: bool) -> None:
    """Raise `UnsupportedParameter` if the task refines faces and the server does not."""
    if task.advancedFeatures.ultralytics is not None and not refined:
        message = (
            "'advancedFeatures.ultralytics' is documented for other model families. This server refines the faces "
        )
        message += "of Qwen-Image too when it is started with --face-refinement."
        raise UnsupportedParameter(message, parameter="advancedFeatures.ultralytics")


def _sizes(task: ImageInference, entry: ModelEntry, catalog: Catalog) -> Iterator[ApiError]:
    for name, other in (("width", "height"), ("height", "width")):
        if getattr(task, name) is not None:
            continue
        expected = expectation(ImageInference, name)
        if entry.mode == "text_to_image":
            message = f"Missing required parameter '{name}'. It must be {describe(expected)}."
            yield MissingParameter(name, message, details=expected)
        elif getattr(task, other) is not None:
            message = f"Missing required parameter '{name}'. Give both width and height, or neither."
            yield MissingParameter(name, message, details=expected)


def _references(task: ImageInference, entry: ModelEntry, catalog: Catalog) -> Iterator[ApiError]:
    loras = [row for asked in task.lora if (row := catalog.find_lora(asked.model)) is not None]
    yield from check_references(len(task.inputs.referenceImages), entry, loras, catalog, "inputs.referenceImages")


def _prompts(task: ImageInference, entry: ModelEntry, catalog: Catalog) -> Iterator[ApiError]:
    refining, where = task.advancedFeatures.ultralytics, "advancedFeatures.ultralytics"
    texts = {"positivePrompt": task.positivePrompt, "negativePrompt": task.negativePrompt}
    if refining is not None:
        texts |= {
            f"{where}.positivePrompt": refining.positivePrompt,
            f"{where}.negativePrompt": refining.negativePrompt,
        }
    yield from check_prompts(texts)


def _window(
    where: str, low: str, high: str, start: int | None, end: int | None, last: int | None
) -> Iterator[ApiError]:
    if start is not None and end is not None and start >= end:
        message = f"'{where}.{low}' must be less than '{where}.{high}'."
        yield IncompatibleParameters(message, parameter=(f"{where}.{low}", f"{where}.{high}"))
    for name, value in ((low, start), (high, end)):
        if last is not None and value is not None and value > last:
            message = f"'{where}.{name}' must not be greater than 'steps', which is {last}."
            yield IncompatibleParameters(message, parameter=(f"{where}.{name}", "steps"))


def _beyond(where: str, low: str, start: int | None, end: int | None, steps: int) -> Iterator[ApiError]:
    if end is None and start == steps:
        message = f"'{where}.{low}' must be less than 'steps', which is {steps}."
        yield IncompatibleParameters(message, parameter=(f"{where}.{low}", "steps"))


def _lora_schedules(task: ImageInference, entry: ModelEntry, catalog: Catalog) -> Iterator[ApiError]:
    try:
        task_schedule(task, entry, catalog)
    except ScheduleConflict as conflict:
        yield lora_conflict(conflict, "lora[].model")


def _cache_window(task: ImageInference, entry: ModelEntry, catalog: Catalog) -> Iterator[ApiError]:
    options, where = task.acceleratorOptions, "acceleratorOptions"
    absolute = ("cacheStartStep", "cacheEndStep")
    percent = ("cacheStartStepPercentage", "cacheEndStepPercentage")
    yield from _one_form(options, where, absolute, percent)
    steps = resolve_steps(task, entry, catalog)
    yield from _window(where, *absolute, options.cacheStartStep, options.cacheEndStep, steps)
    yield from _beyond(where, "cacheStartStep", options.cacheStartStep, options.cacheEndStep, steps)
    yield from _window(where, *percent, options.cacheStartStepPercentage, options.cacheEndStepPercentage, None)


def _one_form(options: object, where: str, absolute: tuple[str, str], percent: tuple[str, str]) -> Iterator[ApiError]:
    given = [[n for n in names if getattr(options, n) is not None] for names in (absolute, percent)]
    if all(given):
        names = tuple(f"{where}.{name}" for name in (*given[0], *given[1]))
        yield IncompatibleParameters("Give steps or percentages, not both.", parameter=names)


def _one_cache(task: ImageInference, entry: ModelEntry, catalog: Catalog) -> Iterator[ApiError]:
    chosen = tuple(f"acceleratorOptions.{name}" for name in CACHES if getattr(task.acceleratorOptions, name))
    if len(chosen) > 1:
        yield IncompatibleParameters("Only one cache can be used at a time.", parameter=chosen)


def _loras(task: ImageInference, entry: ModelEntry, catalog: Catalog) -> Iterator[ApiError]:
    named = {f"lora[{number}].model": asked.model for number, asked in enumerate(task.lora)}
    yield from check_loras(named, entry, catalog)


def _control_nets(task: ImageInference, entry: ModelEntry, catalog: Catalog) -> Iterator[ApiError]:
    for number, control in enumerate(task.controlNet):
        where = f"controlNet[{number}]"
        if catalog.find_controlnet(control.model) is None:
            served = [row.air for row in catalog.controlnets]
            message = f"Invalid value for '{where}.model' parameter. '{control.model}' is not among the served "
            message += f"ControlNets: {', '.join(served) or 'there are none'}."
            details = {"type": "string", "allowedValues": served}
            yield InvalidParameter(f"{where}.model", message, code="invalidModel", details=details)
        absolute, percent = ("startStep", "endStep"), ("startStepPercentage", "endStepPercentage")
        yield from _one_form(control, where, absolute, percent)
        steps = resolve_steps(task, entry, catalog)
        yield from _window(where, *absolute, control.startStep, control.endStep, steps)
        yield from _beyond(where, "startStep", control.startStep, control.endStep, steps)
        yield from _window(where, *percent, control.startStepPercentage, control.endStepPercentage, None)


def _painting(task: ImageInference, entry: ModelEntry, catalog: Catalog) -> Iterator[ApiError]:
    needs = [
        ("inputs.maskImage", task.inputs.maskImage, "inputs.seedImage", task.inputs.seedImage),
        ("maskMargin", task.maskMargin, "inputs.maskImage", task.inputs.maskImage),
        ("outpaint", task.outpaint, "inputs.seedImage", task.inputs.seedImage),
    ]
    for name, value, other, needed in needs:
        if value is not None and needed is None:
            yield IncompatibleParameters(f"'{name}' needs '{other}'.", parameter=(name, other))
    sides = task.outpaint
    if sides is not None and not (sides.top or sides.right or sides.bottom or sides.left):
        message = "Invalid value for 'outpaint' parameter. It must extend at least one side."
        yield InvalidParameter("outpaint", message, details={"type": "object"})


def _drift_guard(task: ImageInference, entry: ModelEntry, catalog: Catalog) -> Iterator[ApiError]:
    options, inputs = task.ownware, task.inputs
    given = [name for name in ("alignTo", "keepUnchanged") if getattr(options, name) is not None]
    for name in (f"ownware.{name}" for name in given):
        if task.outpaint is not None:
            yield IncompatibleParameters(f"'{name}' cannot be used with 'outpaint'.", parameter=(name, "outpaint"))
        if inputs.seedImage is None and not inputs.referenceImages:
            others = ("inputs.seedImage", "inputs.referenceImages")
            message = f"'{name}' needs a picture to compare with: '{others[0]}' or '{others[1]}'."
            yield IncompatibleParameters(message, parameter=(name, *others))
    if options.alignTo == "seedImage" and inputs.seedImage is None:
        names = ("ownware.alignTo", "inputs.seedImage")
        yield IncompatibleParameters(f"'{names[0]}' is 'seedImage', so it needs '{names[1]}'.", parameter=names)
    if isinstance(options.alignTo, int) and options.alignTo >= len(inputs.referenceImages):
        message = f"Invalid value for 'ownware.alignTo' parameter. There are {len(inputs.referenceImages)} "
        message += f"referenceImages, counted from 0, and no number {options.alignTo}."
        yield InvalidParameter("ownware.alignTo", message, details={"type": "integer"})


def without_effect(given: Mapping[str, object]) -> Iterator[ApiError]:
    """Yield an error for each parameter that asks for something without effect on this server."""
    for name, value in given.items():
        if value:
            yield UnsupportedParameter(f"'{name}' is valid, but has no effect on this server.", parameter=name)


_RULES: tuple[Rule, ...] = (
    _sizes,
    _references,
    _prompts,
    _one_cache,
    _cache_window,
    _loras,
    _lora_schedules,
    _control_nets,
    _painting,
    _drift_guard,
)
