"""Generates a whole image: all its steps, and then the refinement of its faces if the request has one.

For step-level control use `render`.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from PIL import Image

from accel.cache.report import CacheReport
from accel.kernels.attention import attention_kernel
from accel.kernels.threads import compute_threads
from pipelines.catalog.catalog import ModelEntry
from pipelines.editing.faces import face_request, find_faces
from pipelines.errors import PromptError
from pipelines.models.admitted import admitted
from pipelines.models.checkpoint import LoadedModel
from pipelines.models.loading.compiling import count_graphs
from pipelines.models.planning.entries import workload_of
from pipelines.pictures.result_checks import explain_failure, flat_warning
from pipelines.pictures.watermark import draw_watermark
from pipelines.render import RenderState, advance, finish, prepare
from pipelines.request import FaceRefinement, RenderRequest

Report = Callable[[int, int], None]  # steps done, and steps in all; may raise to stop the image
Look = Callable[[RenderState], None]  # sees the state before each report, and must not change it

UNCOMPILED = (
    "The compiled blocks can only add LoRAs of low rank. One of these is of another kind, "
    "so this image was rendered without compilation, which is slower."
)


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """A finished image with its seed, warnings for the sender, and the report of its step cache.

    `recompiled` counts the graphs that were compiled during the render.
    """

    image: Image.Image
    seed: int
    warnings: tuple[str, ...]
    cache: CacheReport | None
    recompiled: int = 0


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
    checkpoint = model.checkpoint
    weights = sum(parameter.numel() for parameter in checkpoint.transformer.parameters())
    attention = checkpoint.attention
    fits = admitted(model.admission, workload_of(request, entry), checkpoint.device)
    threads, kernel = compute_threads(weights, checkpoint.device), attention_kernel(attention.kernel)
    with fits, threads, kernel, count_graphs(checkpoint) as graphs:
        generated = _generate(request, index, model, entry, report, look)
        slow = () if attention.warning is None else (attention.warning,)
        return replace(generated, recompiled=graphs(), warnings=(*generated.warnings, *slow))


def _generate(
    request: RenderRequest, index: int, model: LoadedModel, entry: ModelEntry, report: Report, look: Look
) -> GeneratedImage:
    state = prepare(request, index, model, entry)
    look(state)
    report(0, state.total)
    while state.step < state.total:
        advance([state])
        look(state)
        report(state.step, state.total)
    with explain_failure(request, entry, model.precision):
        image = finish(state)
    cache = None if state.cache is None else state.cache.report()
    warnings = (*state.warnings, *_cache_warnings(cache))
    if state.total and state.compiled is None and model.checkpoint.compiled is not None:
        warnings += (UNCOMPILED,)
    if state.total and (flat := flat_warning(image)):
        warnings += (flat,)
    if request.faces is not None:
        after_step = partial(report, state.total, state.total)
        with explain_failure(request, entry, model.precision):
            refined = _refine_faces(image, request.faces, request, index, model, entry, after_step)
        if refined is None:
            warnings += ("No face was found, so none was refined.",)
        else:
            image = refined
    if request.watermark is not None:
        image = draw_watermark(image, request.watermark)
    return GeneratedImage(image, state.seed, warnings, cache)


def _cache_warnings(cache: CacheReport | None) -> Iterator[str]:
    if cache is None:
        return
    if not cache.reused_forwards:
        yield f"The cache '{cache.strategy}' reused none of the {cache.steps} steps."
    if count := sum(decision.reason == "not_finite" for decision in cache.decisions):
        yield f"The cache '{cache.strategy}' measured no finite distance in {count} forwards, so they were computed."


def _refine_faces(
    image: Image.Image,
    faces: FaceRefinement,
    request: RenderRequest,
    index: int,
    model: LoadedModel,
    entry: ModelEntry,
    after_step: Callable[[], None],
) -> Image.Image | None:
    """The image with each of its faces rendered again; None when there is no face."""
    boxes = find_faces(image, faces.confidence)
    if not boxes:
        return None
    with tempfile.TemporaryDirectory() as folder:
        for box in boxes:
            try:
                state = prepare(face_request(image, box, request, faces, Path(folder)), index, model, entry)
            except PromptError as error:
                error.path = f"faces.{error.path}"
                raise
            while state.step < state.total:
                advance([state])
                after_step()
            image = finish(state)
    return image
