"""One image from its request to the finished picture: all its steps, and then its faces if that is asked for.

For whoever has nothing to do between two steps but to look around; who has takes `render` itself.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from accel.cache.report import CacheReport
from pipelines.catalog.catalog import ModelEntry
from pipelines.editing.faces import face_request, find_faces
from pipelines.models.checkpoint import LoadedModel
from pipelines.render import advance, finish, prepare
from pipelines.request import RenderRequest

Report = Callable[[int, int], None]  # steps done, and steps in all; may raise to stop the image


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """A finished picture, the seed it was drawn with, what its sender should know, and what a step cache did."""

    image: Image.Image
    seed: int
    warnings: tuple[str, ...]
    cache: CacheReport | None


def generate(
    request: RenderRequest, index: int, model: LoadedModel, entry: ModelEntry, report: Report
) -> GeneratedImage:
    """Draw image `index` of a request.

    `report` is called before the first step and after each one; while faces are refined it hears that all are done.
    """
    state = prepare(request, index, model, entry)
    report(0, state.total)
    while state.step < state.total:
        advance([state])
        report(state.step, state.total)
    picture, seed, warnings, total = finish(state), state.seed, state.warnings, state.total
    cached = None if state.cache is None else state.cache.report()
    if cached is not None and not cached.reused_forwards:
        warnings += (f"The cache '{cached.strategy}' reused none of the {cached.steps} steps.",)
    how = request.faces
    if how is None:
        return GeneratedImage(picture, seed, warnings, cached)
    boxes = find_faces(picture, how.confidence)
    if not boxes:
        return GeneratedImage(picture, seed, (*warnings, "No face was found, so none was refined."), cached)
    with tempfile.TemporaryDirectory() as folder:
        for box in boxes:
            state = prepare(face_request(picture, box, request, how, Path(folder)), index, model, entry)
            while state.step < state.total:
                advance([state])
                report(total, total)
            picture = finish(state)
    return GeneratedImage(picture, seed, warnings, cached)
