"""Carries out a request's `DriftGuard` on its finished image: aligns it to the source, and restores what is unchanged.

Knows requests and pictures; knows no model and no latents. Imports no torch.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipelines.editing.drift.found_drift import FoundDrift
from pipelines.editing.drift.registration import Drift, corner_move, register, warp
from pipelines.editing.drift.unchanged import changed_parts, soften_mask
from pipelines.editing.pixels import mix_pixels, resize_mask, resize_picture
from pipelines.errors import part_at_fault
from pipelines.pictures.reader import PictureReader
from pipelines.request import DriftGuard, Reference, RenderRequest

NOT_MATCHED = "The image does not match its source, so it was not aligned."
ALL_CHANGED = "The image differs from its source everywhere, so no pixels of the source were kept."

# Pixels at the corner. A resampled picture is softer, and a smaller drift does less harm than that.
_LEAST_MOVE = 0.1
_UNCHANGED = 0.75  # share of the pixels that count where two pictures are compared
_ALL = 0.95  # share of the picture whose change leaves nothing to keep


@dataclass(frozen=True, slots=True)
class Guarded:
    """A guarded image, the drift that was found or None, and warnings for the sender."""

    image: Image.Image
    drift: FoundDrift | None
    warnings: tuple[str, ...]


def guard_image(image: Image.Image, guard: DriftGuard, request: RenderRequest) -> Guarded:
    """Align an RGB image to its source and keep the source's pixels, as the guard says. Raises `PictureError`.

    The source is scaled to the size of the image.
    """
    reference = _source(request, guard)
    with part_at_fault(guard.source):  # its color profile was warned of when the image was prepared
        source = np.asarray(resize_picture(PictureReader().image(reference, "source"), image.size))
    edited, found, warnings = np.asarray(image), None, []
    if guard.align:
        drift = register(source, edited)
        if drift is None:
            warnings.append(NOT_MATCHED)
        else:
            moved = _move_back(source, edited, drift)
            found = _found(drift, moved_back=moved is not None)
            warnings.append(_describe(found))
            edited = edited if moved is None else moved
    if guard.keep is not None:
        reader = PictureReader()
        mask = _mask(guard.keep, source, edited, reader)
        warnings += reader.warnings
        if mask.mean() > _ALL:
            warnings.append(ALL_CHANGED)
        else:
            edited = mix_pixels(source, edited, mask)
    return Guarded(Image.fromarray(edited), found, tuple(warnings))


def _source(request: RenderRequest, guard: DriftGuard) -> Reference:
    """The picture to compare with. Raises `LookupError` if the request does not have it."""
    if guard.reference is not None:
        return request.references[guard.reference]
    if request.seed_image is None:
        raise LookupError("the request has no seed image")
    return request.seed_image


def _mask(keep: str | Reference, source: np.ndarray, edited: np.ndarray, reader: PictureReader) -> np.ndarray:
    if not isinstance(keep, Reference):
        return changed_parts(source, edited)
    with part_at_fault("guard.mask"):
        mask = reader.mask(keep, "mask of the drift guard")
    return soften_mask(resize_mask(mask, (source.shape[1], source.shape[0])))


def _move_back(source: np.ndarray, edited: np.ndarray, drift: Drift) -> np.ndarray | None:
    """The edited picture without its drift. None where that is too little to matter, or no gain."""
    height, width = edited.shape[:2]
    if corner_move(drift, width, height) < _LEAST_MOVE:
        return None
    moved = warp(edited, drift)
    return moved if _distance(source, moved) < _distance(source, edited) else None


def _distance(source: np.ndarray, image: np.ndarray) -> float:
    """The mean difference of the pixels that differ least, which an edit of a part has not changed."""
    difference = np.abs(image.astype(np.int16) - source).max(axis=2).ravel()
    return float(np.sort(difference)[: int(_UNCHANGED * difference.size)].mean())


def _found(drift: Drift, *, moved_back: bool) -> FoundDrift:
    """What is told of a drift: as precise as it can be found."""
    return FoundDrift(round(drift.dx, 2), round(drift.dy, 2), round(drift.scale, 4), moved_back)


def _describe(drift: FoundDrift) -> str:
    outcome = "It was moved back." if drift.moved_back else "It was left as it is."
    return f"The image had drifted from its source: {drift}. {outcome}"
