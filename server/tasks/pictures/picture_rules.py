"""Validation of a task's pictures: their aspects, a mask beside its seed image, an extended size.

Shared by all dialects. Errors name the client's parameters.
"""

from collections.abc import Iterator, Mapping

from pipelines.limits import MAX_ASPECT, MAX_SIDE, MIN_SIDE, SIDE_MULTIPLE, is_side
from pipelines.sizes import same_aspect
from server.errors import ApiError, IncompatibleParameters, InvalidParameter, TaskRejected
from server.media.store import Media
from server.tasks.spec import TaskSpec

DIMENSIONS = "invalidImageDimensions"
Pictures = Mapping[str, Media]  # by the path that `TaskSpec.pictures` has for each


def check_pictures(spec: TaskSpec, pictures: Pictures) -> None:
    """Raise `TaskRejected` with all errors in the sizes of a task's pictures."""
    if errors := [error for rule in (_sides, _aspects, _mask_size, _outpaint_sums) for error in rule(spec, pictures)]:
        raise TaskRejected(*errors)


def _sides(spec: TaskSpec, pictures: Pictures) -> Iterator[ApiError]:
    if spec.picture_sides is None:
        return
    low, high = spec.picture_sides
    for path, picture in pictures.items():
        if not (low <= picture.width <= high and low <= picture.height <= high):
            name = spec.parameter(path)
            message = f"Invalid value for '{name}' parameter. The image is {picture.width}×{picture.height} pixels; "
            message += f"its sides must have {low} to {high}."
            yield InvalidParameter(name, message, code=DIMENSIONS, details={"type": "string"})


def _aspects(spec: TaskSpec, pictures: Pictures) -> Iterator[ApiError]:
    for path, picture in pictures.items():
        if max(picture.width, picture.height) > MAX_ASPECT * min(picture.width, picture.height):
            name = spec.parameter(path)
            message = f"Invalid value for '{name}' parameter. The image is {picture.width}×{picture.height} pixels; "
            message += f"its sides must not differ by more than 1:{MAX_ASPECT}."
            yield InvalidParameter(name, message, details={"type": "string"})


def _mask_size(spec: TaskSpec, pictures: Pictures) -> Iterator[ApiError]:
    mask, seed = pictures.get("mask"), pictures.get("seed_image")
    if mask is None or seed is None or same_aspect(mask.width, mask.height, seed.width, seed.height):
        return
    names = spec.parameter("mask"), spec.parameter("seed_image")
    message = f"'{names[0]}' is {mask.width}×{mask.height} pixels and '{names[1]}' {seed.width}×{seed.height}; "
    message += "they must have the same size, or at least the same aspect."
    yield IncompatibleParameters(message, parameter=names)


def _outpaint_sums(spec: TaskSpec, pictures: Pictures) -> Iterator[ApiError]:
    seed, sides = pictures.get("seed_image"), spec.outpaint
    if seed is None or sides is None:
        return
    for path, own, before, after in (("width", seed.width, "left", "right"), ("height", seed.height, "top", "bottom")):
        given = getattr(spec, path)
        total = own + getattr(sides, before) + getattr(sides, after)
        name, outpaint = spec.parameter(path), spec.parameter("outpaint")
        sums = (
            f"{own} of the seed image + {getattr(sides, before)} {before} + {getattr(sides, after)} {after} = {total}"
        )
        if given is not None and given != total:
            message = f"'{name}' is {given}, but must be that of the extended image: {sums}."
            yield IncompatibleParameters(message, parameter=(name, outpaint))
        elif given is None and not is_side(total):
            message = f"Invalid value for '{outpaint}' parameter. The extended {name} must be an integer between "
            message += f"{MIN_SIDE} and {MAX_SIDE}, in multiples of {SIDE_MULTIPLE}, but {sums}."
            yield InvalidParameter(outpaint, message, details={"type": "object"})
