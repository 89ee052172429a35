"""Generates a whole image: all its steps, and then the refinement of its faces if the request has one.

For step-level control use `render`, and for several images at a time `image_render`.
"""

from collections.abc import Callable
from functools import partial

from pipelines.catalog.catalog import ModelEntry
from pipelines.image_render import GeneratedImage, ImageRender
from pipelines.models.checkpoint import LoadedModel
from pipelines.models.running.device_setting import device_setting
from pipelines.render.state import RenderState
from pipelines.request import RenderRequest

Report = Callable[[int, int], None]  # steps done, and steps in all; may raise to stop the image
Look = Callable[[RenderState], None]  # sees the state before each report, and must not change it


def _look_away(state: RenderState) -> None:
    """Nobody looks."""


def generate(
    request: RenderRequest,
    index: int,
    model: LoadedModel,
    entry: ModelEntry,
    report: Report,
    look: Look = _look_away,
) -> GeneratedImage:
    """Generate image `index` of a request.

    `look` and then `report` are called before the first step and after each one. While faces are refined, `report` is
    called with all steps done. Raises `RenderError`, with the part of the request at fault.
    """
    with device_setting(model.checkpoint):
        render = ImageRender(request, index, model, entry)
        render.prepare()
        total = render.state.total
        look(render.state)
        report(0, total)
        while not render.ready:
            render.advance()
            look(render.state)
            report(render.state.step, total)
        return render.decode(partial(report, total, total))
