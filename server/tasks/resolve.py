"""Turns a `TaskSpec` and its stored pictures into a `RenderRequest`, for all dialects.

Pure but for the random seed. Leaves no value open. Knows no wire format.
"""

import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from accel.cache.plan import CachePlan
from pipelines.catalog.profiles import Profiles
from pipelines.request import ControlUse, DriftGuard, Reference, RenderRequest
from pipelines.resolver import calibration_key, prompt_remark, size_from_pictures, stretched_pictures
from pipelines.sizes import edit_size
from server.media.store import Media
from server.tasks.pictures.picture_rules import Pictures
from server.tasks.spec import TaskSpec

# An edit without a size has about a megapixel, whatever the picture. Only outpainting depends on the picture's size.
ASSUMED_SIDE = 1024


def to_request(spec: TaskSpec, pictures: Pictures, profiles: Profiles) -> tuple[RenderRequest, tuple[str, ...]]:
    """The request of a task, and the warnings about its prompt, its pictures and its size."""
    images = {path: Reference(m.path, m.sha256, m.width, m.height) for path, m in pictures.items()}
    width, height = _size(spec, images)
    cache, warnings = _cache(spec, (width, height), profiles)
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
        watermark=spec.watermark,
        guard=_guard(spec, images),
    )
    remark = prompt_remark(spec.model, spec.parameter("prompt"), spec.prompt)
    return request, (*(() if remark is None else (remark,)), *_stretched(spec, request), *warnings)


def assumed_request(spec: TaskSpec, profiles: Profiles) -> RenderRequest:
    """The request of a task before its pictures are fetched, to estimate how long it takes."""
    picture = Media("", "input", spec.owner, Path(), "", ASSUMED_SIDE, ASSUMED_SIDE, "", 0.0, None)
    return to_request(spec, dict.fromkeys(spec.pictures, picture), profiles)[0]


def _size(spec: TaskSpec, images: Mapping[str, Reference]) -> tuple[int, int]:
    if spec.width is not None and spec.height is not None:
        return spec.width, spec.height
    if spec.size_picture is not None:
        picture = images[spec.size_picture]
        return edit_size(picture.width, picture.height, spec.model)
    references = [images[f"references[{number}]"] for number in range(len(spec.references))]
    size = size_from_pictures(spec.model, references, images.get("seed_image"), spec.outpaint)
    if size is None:
        raise LookupError("a task without a size and without pictures was accepted")
    return size


def _cache(
    spec: TaskSpec, size: tuple[int, int], profiles: Profiles
) -> tuple[CachePlan | None, Iterator[str] | tuple[str, ...]]:
    """The step cache. TeaCache has the parameters of the model, or does not run if there are none."""
    if spec.cache is None or spec.cache.strategy != "teacache":
        return spec.cache, ()
    key = calibration_key(spec.model, spec.steps, spec.true_cfg_scale, size, loras=bool(spec.loras))
    params, problems = profiles.choose(spec.model, key)
    warnings = (f"{spec.parameter('cache')}: {problem}" for problem in problems)
    return (None if params is None else params.fit(spec.cache)), warnings


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


def _guard(spec: TaskSpec, images: Mapping[str, Reference]) -> DriftGuard | None:
    if spec.guard is None:
        return None
    keep = "auto" if spec.guard.auto else images.get("guard.mask")
    return DriftGuard(spec.guard.reference, spec.guard.align, keep)


def _stretched(spec: TaskSpec, request: RenderRequest) -> Iterator[str]:
    for path, image in stretched_pictures(request):
        size = f"{request.width}×{request.height}"
        yield f"{spec.parameter(path)} is {image.width}×{image.height} pixels, so it is stretched to {size}."
