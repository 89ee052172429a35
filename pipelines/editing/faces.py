"""Face refinement: find the faces in a finished picture, and make the request that renders one of them again, larger.

A refinement is an ordinary request with a seed image, a soft mask and a margin, so it runs in the same denoising loop.
Knows pictures and requests; imports no torch.
"""

from dataclasses import replace
from pathlib import Path

from PIL import Image, ImageFilter

from pipelines.catalog.fingerprint import file_digest
from pipelines.detection.detector import detect
from pipelines.editing.canvas import Box
from pipelines.request import FaceRefinement, Reference, RenderRequest

# Pixels around a face that are rendered with it: the default of A1111's ADetailer ("inpaint only masked padding").
MARGIN = 32
# NudeNet's detector scores a clear frontal face 0.5 to 0.9. The scale of a request's `confidence` comes from detectors
# that score it 0.9 and more.
SCORE_FOR_CONFIDENCE = 0.5
_FACES = ("FACE_FEMALE", "FACE_MALE")


def find_faces(picture: Image.Image, confidence: float) -> tuple[Box, ...]:
    """Return the boxes of the faces in an RGB picture, highest score first. `confidence` is a request's, 0 to 1."""
    least = SCORE_FOR_CONFIDENCE * confidence
    faces = [one for one in detect(picture) if one.label in _FACES and one.score >= least]
    faces.sort(key=lambda one: one.score, reverse=True)
    boxes = ((x, y, x + width, y + height) for x, y, width, height in (one.box for one in faces))
    return tuple(_clip(box, picture.size) for box in boxes)


def face_request(
    picture: Image.Image, box: Box, request: RenderRequest, how: FaceRefinement, folder: Path
) -> RenderRequest:
    """Make the request that renders one face of a picture again. Writes the picture and the mask into `folder`.

    ControlNets and step caches are left out, because their windows refer to the steps of the first request.
    """
    left, top, right, bottom = box
    padded = (left - how.mask_padding, top - how.mask_padding, right + how.mask_padding, bottom + how.mask_padding)
    mask = Image.new("L", picture.size)
    mask.paste(255, _clip(padded, picture.size))
    return replace(
        request,
        prompt=how.prompt,
        negative_prompt=how.negative_prompt,
        true_cfg_scale=how.true_cfg_scale,
        steps=how.steps,
        strength=how.strength,
        seed_image=_save(picture, folder / "picture.png"),
        mask=_save(mask.filter(ImageFilter.GaussianBlur(how.mask_blur)), folder / "mask.png"),
        mask_margin=MARGIN,
        outpaint=None,
        controls=(),
        faces=None,
        guard=None,
        cache=None,
        count=1,
    )


def _clip(box: Box, size: tuple[int, int]) -> Box:
    left, top, right, bottom = box
    return max(0, left), max(0, top), min(size[0], right), min(size[1], bottom)


def _save(picture: Image.Image, path: Path) -> Reference:
    picture.save(path, compress_level=1)
    return Reference(path, file_digest(path), *picture.size)
