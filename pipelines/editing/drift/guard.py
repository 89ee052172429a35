"""Carries out a request's `DriftGuard` on its finished image: aligns it to the source, and restores what is unchanged.

Knows requests and pictures; knows no model and no latents. Imports no torch.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipelines.editing.drift.registration import Drift, corner_move, register, warp
from pipelines.editing.drift.unchanged import changed_parts, restore_pixels, soften_mask
from pipelines.errors import part_at_fault
from pipelines.pictures.reader import PictureReader
from pipelines.request import DriftGuard, Reference, RenderRequest

NOT_MATCHED = "The image does not match its source, so it was not aligned."
ALL_CHANGED = "The image differs from its source everywhere, so no pixels of the source were kept."

# Pixels at the corner. A resampled picture is softer, and a smaller drift does less harm than that.
_LEAST_MOVE = 0.1
_ALL = 0.95  # share of the picture whose change leaves nothing to keep


@dataclass(frozen=True, slots=True)
class Guarded:
    """A guarded image, the drift that was found or None, and warnings for the sender."""

    image: Image.Image
    drift: Drift | None
    warnings: tuple[str, ...]


def guard_image(image: Image.Image, guard: DriftGuard, request: RenderRequest, reader: PictureReader) -> Guarded:
    """Align an RGB image to its source and keep the source's pixels, as the guard says. Raises `PictureError`.

    The source is scaled to the size of the image.
    """
    with part_at_fault(guard.source):
        source = np.asarray(_fit(reader.image(source_of(request, guard), "source of the drift guard"), image.size))
    edited, drift, warnings = np.asarray(image), None, []
    if guard.align:
        drift = register(source, edited)
        if drift is None:
            warnings.append(NOT_MATCHED)
        elif corner_move(drift, *image.size) >= _LEAST_MOVE and _closer(source, edited, warp(edited, drift)):
            edited = warp(edited, drift)
            warnings.append(_describe(drift, "It was moved back."))
        else:
            warnings.append(_describe(drift, "It was left as it is."))
    if guard.keep is not None:
        mask = _mask(guard.keep, source, edited, reader)
        if mask.mean() > _ALL:
            warnings.append(ALL_CHANGED)
        else:
            edited = restore_pixels(source, edited, mask)
    return Guarded(Image.fromarray(edited), drift, tuple(warnings))


def source_of(request: RenderRequest, guard: DriftGuard) -> Reference:
    """The picture that a guard compares with. Raises `LookupError` if the request has none at its path."""
    found = request.seed_image
    if guard.source != "seed_image":
        number = int(guard.source.removeprefix("references[").removesuffix("]"))
        found = request.references[number] if number < len(request.references) else None
    if found is None:
        raise LookupError(f"the request has no {guard.source}")
    return found


def _mask(keep: str | Reference, source: np.ndarray, edited: np.ndarray, reader: PictureReader) -> np.ndarray:
    if not isinstance(keep, Reference):
        return changed_parts(source, edited)
    with part_at_fault("guard.mask"):
        mask = Image.fromarray(reader.mask(keep, "mask of the drift guard"))
    size = source.shape[1], source.shape[0]
    if mask.size != size:
        mask = mask.resize(size, Image.Resampling.BILINEAR)
    return soften_mask(np.asarray(mask).clip(0, 1))


def _fit(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS)


def _closer(source: np.ndarray, before: np.ndarray, after: np.ndarray) -> bool:
    """Whether an image is closer to its source than before, in the half of the pixels that differ least."""

    def distance(image: np.ndarray) -> float:
        difference = np.abs(image.astype(np.int16) - source).max(axis=2).ravel()
        return float(np.sort(difference)[: difference.size * 3 // 4].mean())

    return distance(after) < distance(before)


def _describe(drift: Drift, outcome: str) -> str:
    move = f"{drift.dx:+.2f} pixels to the right, {drift.dy:+.2f} down, {drift.scale:.4f} times as large"
    return f"The image had drifted from its source: {move}. {outcome}"
