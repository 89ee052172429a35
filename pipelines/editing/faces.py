"""Faces in a finished picture: where they are, and the request that draws one of them again, larger.

A refinement is an ordinary request with a seed image, a soft mask and a margin, so the one denoising loop serves it.
Knows pictures and requests; imports no torch.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter

from pipelines.catalog.fingerprint import file_digest
from pipelines.editing.canvas import Box
from pipelines.request import FaceRefinement, Reference, RenderRequest

if TYPE_CHECKING:
    from nudenet import NudeDetector

# Around a face as much is drawn with it as A1111's ADetailer does by default ("inpaint only masked padding").
MARGIN = 32
# NudeNet's detector gives a clear frontal face 0.5 to 0.9, where the detectors that the wire's scale is made for give
# 0.9 and more.
SCORE_FOR_CONFIDENCE = 0.5
_FACES = ("FACE_FEMALE", "FACE_MALE")


def find_faces(picture: Image.Image, confidence: float) -> tuple[Box, ...]:
    """Boxes of the faces in an RGB picture, in pixels, the surest first. `confidence` is the wire's, 0 to 1."""
    found = _detector().detect(np.ascontiguousarray(np.asarray(picture)[:, :, ::-1]))  # it wants BGR
    faces = [one for one in found if one["class"] in _FACES and one["score"] >= SCORE_FOR_CONFIDENCE * confidence]
    faces.sort(key=lambda one: one["score"], reverse=True)
    boxes = ((x, y, x + width, y + height) for x, y, width, height in (one["box"] for one in faces))
    return tuple(_inside(box, picture.size) for box in boxes)


def around_face(
    picture: Image.Image, box: Box, request: RenderRequest, how: FaceRefinement, folder: Path
) -> RenderRequest:
    """The request that draws one face of a picture again. Writes the picture and the mask into `folder`.

    ControlNets and a cache stay out: their windows are those of other steps.
    """
    left, top, right, bottom = box
    padded = (left - how.mask_padding, top - how.mask_padding, right + how.mask_padding, bottom + how.mask_padding)
    mask = Image.new("L", picture.size)
    mask.paste(255, _inside(padded, picture.size))
    return replace(
        request,
        prompt=how.prompt,
        negative_prompt=how.negative_prompt,
        true_cfg_scale=how.true_cfg_scale,
        steps=how.steps,
        strength=how.strength,
        seed_image=_kept(picture, folder / "picture.png"),
        mask=_kept(mask.filter(ImageFilter.GaussianBlur(how.mask_blur)), folder / "mask.png"),
        mask_margin=MARGIN,
        outpaint=None,
        controls=(),
        faces=None,
        cache=None,
        count=1,
    )


def _inside(box: Box, size: tuple[int, int]) -> Box:
    left, top, right, bottom = box
    return max(0, left), max(0, top), min(size[0], right), min(size[1], bottom)


def _kept(picture: Image.Image, path: Path) -> Reference:
    picture.save(path, compress_level=1)
    return Reference(path, file_digest(path), *picture.size)


@cache
def _detector() -> "NudeDetector":
    from nudenet import NudeDetector  # an extra, and it takes a second to load

    return NudeDetector()
