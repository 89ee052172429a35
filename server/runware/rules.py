"""The rules of imageInference that one field cannot tell: between fields, and between a field and the model.

`check` runs every rule and collects what it finds; each rule is a generator of errors. What is well-formed but has no
effect yet is refused last, by name, because a parameter that is silently ignored is worse than an error.
"""

from collections.abc import Callable, Iterator

from pipelines.catalog import REFERENCES, Catalog, ModelEntry
from pipelines.prompts import find_control_token
from server.errors import (
    ApiError,
    IncompatibleParameters,
    InvalidParameter,
    MissingParameter,
    Rejected,
    UnsupportedParameter,
)
from server.runware.schema import ImageInference
from server.runware.validation import describe, expectation

Rule = Callable[[ImageInference, ModelEntry, Catalog], Iterator[ApiError]]
CACHES = ("fbCache", "teaCache", "dbCache")


def check(task: ImageInference, entry: ModelEntry, catalog: Catalog) -> None:
    """Raise `Rejected` with everything that is wrong with the task on this model."""
    if errors := [error for rule in _RULES for error in rule(task, entry, catalog)]:
        raise Rejected(*errors)


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
    least, most = REFERENCES[entry.mode]
    count, name = len(task.inputs.referenceImages), "inputs.referenceImages"
    if least <= count <= most:
        return
    if most == 0:
        message = f"'{name}' is no parameter of {entry.air}; an edit model such as runware:108@20 takes it."
        yield UnsupportedParameter(message, parameter=name)
        return
    wanted = "exactly one image" if least == most else f"{least} to {most} images"
    details = {"type": "array", "min": least, "max": most}
    if count == 0:
        message = f"Missing required parameter '{name}'. {entry.air} takes {wanted}."
        yield MissingParameter(name, message, details=details)
    else:
        message = f"Invalid value for '{name}' parameter. {entry.air} takes {wanted}, {count} were given."
        yield InvalidParameter(name, message, details=details)


def _prompts(task: ImageInference, entry: ModelEntry, catalog: Catalog) -> Iterator[ApiError]:
    for name in ("positivePrompt", "negativePrompt"):
        if token := find_control_token(getattr(task, name) or ""):
            message = f"Invalid value for '{name}' parameter. '{token}' is a control token of the model, not text."
            yield InvalidParameter(name, message, details={"type": "string"})


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


def _cache_window(task: ImageInference, entry: ModelEntry, catalog: Catalog) -> Iterator[ApiError]:
    options, where = task.acceleratorOptions, "acceleratorOptions"
    absolute = ("cacheStartStep", "cacheEndStep")
    percent = ("cacheStartStepPercentage", "cacheEndStepPercentage")
    yield from _one_form(options, where, absolute, percent)
    steps = task.steps or entry.steps
    yield from _window(where, *absolute, options.cacheStartStep, options.cacheEndStep, steps)
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


def _control_nets(task: ImageInference, entry: ModelEntry, catalog: Catalog) -> Iterator[ApiError]:
    for number, control in enumerate(task.controlNet):
        where = f"controlNet[{number}]"
        absolute, percent = ("startStep", "endStep"), ("startStepPercentage", "endStepPercentage")
        yield from _one_form(control, where, absolute, percent)
        steps = task.steps or entry.steps
        yield from _window(where, *absolute, control.startStep, control.endStep, steps)
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


def _without_effect(task: ImageInference, entry: ModelEntry, catalog: Catalog) -> Iterator[ApiError]:
    given = {
        "webhookURL": task.webhookURL,
        "uploadEndpoint": task.uploadEndpoint,
        "safety.checkContent": task.safety.checkContent,
        "safety.mode": task.safety.mode != "none",
        **{f"acceleratorOptions.{name}": getattr(task.acceleratorOptions, name) for name in CACHES},
        "inputs.seedImage": task.inputs.seedImage,
        "inputs.maskImage": task.inputs.maskImage,
        "maskMargin": task.maskMargin,
        "outpaint": task.outpaint,
        "lora": task.lora,
        "controlNet": task.controlNet,
        "advancedFeatures.ultralytics": task.advancedFeatures.ultralytics,
    }
    for name, value in given.items():
        if value:
            yield UnsupportedParameter(f"'{name}' is valid, but has no effect on this server.", parameter=name)


_RULES: tuple[Rule, ...] = (
    _sizes,
    _references,
    _prompts,
    _one_cache,
    _cache_window,
    _control_nets,
    _painting,
    _without_effect,
)
