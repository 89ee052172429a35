"""One image from its request to the finished picture: all its steps, and then its faces if that is asked for.

For whoever has nothing to do between two steps but to look around; who has takes `render` itself.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from pipelines.catalog import ModelEntry
from pipelines.faces import around_face, find_faces
from pipelines.loading import Checkpoint
from pipelines.render import advance, finish, prepare
from pipelines.request import RenderRequest

Report = Callable[[int, int], None]  # steps done, and steps in all; may raise to stop the image


def draw(
    request: RenderRequest, index: int, checkpoint: Checkpoint, entry: ModelEntry, report: Report
) -> tuple[Image.Image, int, tuple[str, ...]]:
    """Draw image `index` of a request; returns the picture, its seed and warnings.

    `report` is called before the first step and after each one; while faces are refined it hears that all are done.
    """
    state = prepare(request, index, checkpoint, entry)
    report(0, state.total)
    while state.step < state.total:
        advance([state])
        report(state.step, state.total)
    picture, warnings, total = finish(state), state.warnings, state.total
    how = request.faces
    if how is None:
        return picture, state.seed, warnings
    boxes = find_faces(picture, how.confidence)
    if not boxes:
        return picture, state.seed, (*warnings, "No face was found, so none was refined.")
    with tempfile.TemporaryDirectory() as folder:
        for box in boxes:
            state = prepare(around_face(picture, box, request, how, Path(folder)), index, checkpoint, entry)
            while state.step < state.total:
                advance([state])
                report(total, total)
            picture = finish(state)
    return picture, state.seed, warnings
