"""Resolves what a request leaves open: schedule, strength, size, and the parameters of TeaCache.

Every front end uses it, so that equal requests give equal bytes. Pure. Knows the catalogue; knows no wire format.
Imports no torch.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pipelines.catalog.catalog import ModelEntry
from pipelines.catalog.profiles import CalibrationKey
from pipelines.catalog.schedules import LoraSchedule, combine_schedules
from pipelines.limits import DEFAULT_STRENGTH
from pipelines.request import Outpaint, Reference, RenderRequest, Sampler
from pipelines.sizes import edit_size, same_aspect


@dataclass(frozen=True, slots=True)
class ResolvedSchedule:
    """The schedule of a request, with no value left open."""

    steps: int
    true_cfg_scale: float
    sampler: Sampler


def resolve_schedule(
    entry: ModelEntry,
    loras: Mapping[int, LoraSchedule],
    *,
    steps: int | None,
    true_cfg_scale: float | None,
    sampler: Sampler | None,
) -> ResolvedSchedule:
    """The request's own values, else those of its LoRAs, else the model's. `sampler` gives solver and schedule only.

    `loras` are the schedules of the LoRAs that act, by their numbers. Raises `ScheduleConflict`.
    """
    given = {key for key, value in (("steps", steps), ("true_cfg_scale", true_cfg_scale)) if value is not None}
    combined = combine_schedules(loras, given)
    named, own = sampler or entry.sampler, entry.sampler
    resolved = replace(
        named,
        shift=own.shift if combined.shift is None else combined.shift,
        terminal=own.terminal if combined.terminal is None else combined.terminal,
    )
    if true_cfg_scale is None:
        true_cfg_scale = entry.true_cfg_scale if combined.true_cfg_scale is None else combined.true_cfg_scale
    return ResolvedSchedule(steps or combined.steps or entry.steps, true_cfg_scale, resolved)


def resolve_strength(given: float | None, outpaint: Outpaint | None) -> float:
    """The strength of a seed image. The new parts of outpainting start from noise unless the request says otherwise."""
    if given is not None:
        return given
    return 1.0 if outpaint else DEFAULT_STRENGTH


def size_from_pictures(
    entry: ModelEntry, references: Sequence[Reference], seed_image: Reference | None, outpaint: Outpaint | None
) -> tuple[int, int] | None:
    """The size of a request without width and height. None if its pictures decide none.

    Outpainting gives the extended seed image. With several references, the last one counts, as in diffusers' edit-plus
    pipeline.
    """
    if outpaint is not None and seed_image is not None:
        return extended_size(seed_image, outpaint)
    if references:
        return edit_size(references[-1].width, references[-1].height, entry)
    return None


def extended_size(seed_image: Reference, outpaint: Outpaint) -> tuple[int, int]:
    """The size of a seed image with the sides that outpainting adds."""
    return seed_image.width + outpaint.left + outpaint.right, seed_image.height + outpaint.top + outpaint.bottom


def calibration_key(
    entry: ModelEntry, steps: int, true_cfg_scale: float, size: tuple[int, int], *, loras: bool
) -> CalibrationKey:
    """The key of the TeaCache parameters of a request of this size in pixels."""
    return CalibrationKey(steps, true_cfg_scale > 1, entry.native_area or size[0] * size[1], loras=loras)


def prompt_remark(entry: ModelEntry, parameter: str, prompt: str) -> str | None:
    """The warning about a prompt for small weights with words that they were not trained on.

    A negative prompt gets none: what it names is left out in any case.
    """
    known = entry.known_words
    return None if known is None else known.remark(parameter, prompt)


def stretched_pictures(request: RenderRequest) -> Iterator[tuple[str, Reference]]:
    """Each picture that covers the whole image and has another aspect, with its path in the request."""
    pictures = {f"controls[{number}].control_image": use.control_image for number, use in enumerate(request.controls)}
    if request.seed_image is not None and request.outpaint is None:
        pictures["seed_image"] = request.seed_image
    for path, picture in pictures.items():
        if not same_aspect(picture.width, picture.height, request.width, request.height):
            yield path, picture
