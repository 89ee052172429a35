"""From a `TaskSpec` and its stored pictures to a `RenderRequest`, the same for all dialects.

Pure but for the random seed. No default is left open afterwards. Knows no wire format.
"""

import secrets
from collections.abc import Iterator, Mapping

from accel.cache.plan import CachePlan
from pipelines.catalog.profiles import CalibrationKey, Profiles
from pipelines.request import ControlUse, Reference, RenderRequest
from pipelines.sizes import edit_size, same_aspect
from server.tasks.picture_rules import Pictures
from server.tasks.spec import TaskSpec


def to_request(spec: TaskSpec, pictures: Pictures, profiles: Profiles) -> tuple[RenderRequest, tuple[str, ...]]:
    """The request of a task, and the warnings that its pictures and its size give rise to."""
    images = {path: Reference(m.path, m.sha256, m.width, m.height) for path, m in pictures.items()}
    width, height = _size(spec, pictures)
    cache, warnings = _cache(spec, width * height, profiles)
    request = RenderRequest(
        model=spec.model.air,
        prompt=spec.prompt,
        negative_prompt=spec.negative_prompt,
        width=width,
        height=height,
        steps=spec.steps,
        sampler=spec.sampler,
        true_cfg_scale=spec.true_cfg_scale,
        seed=secrets.randbits(32) if spec.seed is None else spec.seed,
        count=spec.count,
        references=tuple(images[f"references[{number}]"] for number in range(len(spec.references))),
        seed_image=images.get("seed_image"),
        strength=spec.strength,
        mask=images.get("mask"),
        mask_margin=spec.mask_margin,
        outpaint=spec.outpaint,
        loras=spec.loras,
        controls=_controls(spec, images),
        faces=spec.faces,
        cache=cache,
    )
    return request, (*_stretched(spec, request), *warnings)


def _size(spec: TaskSpec, pictures: Pictures) -> tuple[int, int]:
    if spec.width is not None and spec.height is not None:
        return spec.width, spec.height
    seed_image, sides = pictures.get("seed_image"), spec.outpaint
    if sides is not None and seed_image is not None:
        return seed_image.width + sides.left + sides.right, seed_image.height + sides.top + sides.bottom
    # With several references, diffusers' edit-plus pipeline follows the last one.
    last = pictures[f"references[{len(spec.references) - 1}]"]
    return edit_size(last.width, last.height, spec.model)


def _cache(spec: TaskSpec, area: int, profiles: Profiles) -> tuple[CachePlan | None, Iterator[str] | tuple[str, ...]]:
    """The step cache; TeaCache's with the figures that were measured on the model, or none when there are none."""
    if spec.cache is None or spec.cache.strategy != "teacache":
        return spec.cache, ()
    entry = spec.model
    key = CalibrationKey(spec.steps, spec.true_cfg_scale > 1, entry.native_area or area, loras=bool(spec.loras))
    params, warnings = profiles.choose(entry, key)
    said = (f"{spec.parameter('cache')}: {warning}" for warning in warnings)
    return (None if params is None else params.fit(spec.cache)), said


def _controls(spec: TaskSpec, images: Mapping[str, Reference]) -> tuple[ControlUse, ...]:
    return tuple(
        ControlUse(
            name=control.name,
            weights=control.weights,
            control_image=images[f"controls[{number}].control_image"],
            weight=control.weight,
            mode=control.mode,
            start=control.start,
            end=control.end,
        )
        for number, control in enumerate(spec.controls)
    )


def _stretched(spec: TaskSpec, request: RenderRequest) -> Iterator[str]:
    """A warning for each image that covers the whole picture and has another aspect."""
    images = {f"controls[{number}].control_image": use.control_image for number, use in enumerate(request.controls)}
    if request.seed_image is not None and request.outpaint is None:
        images["seed_image"] = request.seed_image
    for path, image in images.items():
        if not same_aspect(image.width, image.height, request.width, request.height):
            size = f"{request.width}×{request.height}"
            yield f"{spec.parameter(path)} is {image.width}×{image.height} pixels, so it is stretched to {size}."
