"""One image of a request under way: prepared, advanced step by step, and decoded.

So several images can be under way at a time. `device_setting` is around all their parts. Whoever needs a whole image
takes `generate`.
"""

import tempfile
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from accel.cache.report import CacheReport
from pipelines.batching import branches_can_batch
from pipelines.catalog.catalog import ModelEntry
from pipelines.editing.drift.found_drift import FoundDrift
from pipelines.editing.faces import face_request, find_faces
from pipelines.errors import PromptError
from pipelines.models.checkpoint import LoadedModel
from pipelines.models.loading.compiling import count_graphs
from pipelines.models.planning.entries import workload_of
from pipelines.models.planning.workload import Workload
from pipelines.models.running.memory_meter import MemoryMeter
from pipelines.models.running.step_timer import StepTimer
from pipelines.pictures.result_checks import explain_failure, flat_warning
from pipelines.pictures.watermark import draw_watermark
from pipelines.render.prepare import prepare
from pipelines.render.state import RenderState
from pipelines.render.steps import advance, evaluate_next, finish
from pipelines.request import FaceRefinement, RenderRequest

UNCOMPILED = (
    "The compiled blocks can only add LoRAs of low rank. One of these is of another kind, "
    "so this image was rendered without compilation, which is slower."
)


# As many timesteps and more share a graph: the compiler takes one row of the modulation, and two, for constants.
_SYMBOLIC = 3


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """A finished image with its seed, warnings for the sender, and the report of its step cache.

    `recompiled` counts the graphs that were compiled during the render. `drift` is what its guard has found.
    `batched_branches` says whether both branches of guidance ran as one batch.
    """

    image: Image.Image
    seed: int
    warnings: tuple[str, ...]
    cache: CacheReport | None
    recompiled: int = 0
    drift: FoundDrift | None = None
    batched_branches: bool = False


class ImageRender:
    """Image `index` of a request. Its parts run in order: `prepare`, `advance` for each step, `decode`."""

    def __init__(self, request: RenderRequest, index: int, model: LoadedModel, entry: ModelEntry) -> None:
        """Raise `SizeError` for a request that cannot fit the device."""
        self._request, self._index, self._model, self._entry = request, index, model, entry
        work = workload_of(request, entry)
        self._memory = MemoryMeter(model.admission, work, model.checkpoint.device)
        self._batches_branches = _batches_branches(request, model, work)
        self._memory.shared = self._batches_branches  # the memory of both branches tells nothing about one
        self._state: RenderState | None = None
        self._timer = StepTimer(model.checkpoint.device)
        self._recompiled = 0

    @property
    def state(self) -> RenderState:
        """The image between two steps. Raises `ValueError` before `prepare`."""
        if self._state is None:
            raise ValueError("the image is not prepared")
        return self._state

    @property
    def ready(self) -> bool:
        """Whether all steps are done."""
        return self._state is not None and self._state.step == self._state.total

    @property
    def weights(self) -> Hashable:
        """What the blocks run with. Images of equal weights can be evaluated together."""
        return id(self._model.checkpoint), self.state.loras.identity, self._batches_branches

    @property
    def rounds_batches(self) -> bool:
        """Whether an image may differ in its rounding where it was evaluated with others."""
        return self._model.checkpoint.device.type != "cpu"

    def share(self) -> None:
        """Note that another image is under way too, so that the device's memory tells nothing about this one."""
        self._memory.shared = True

    def prepare(self) -> None:
        """Encode the prompt and the pictures. Raises `RenderError`, with the part of the request at fault."""
        with self._memory.running():
            self._state = prepare(self._request, self._index, self._model, self._entry)
        self._state.batch_branches = self._batches_branches

    def advance(self) -> None:
        """Advance the image by one step."""
        with self._memory.running(), count_graphs(self._model.checkpoint) as graphs, self._timer.step():
            advance([self.state])
        self._recompiled += graphs()

    def step_seconds(self) -> float:
        """The seconds of all steps so far, without those of other images. Waits for the last step."""
        return self._timer.seconds()

    def decode(self, after_step: Callable[[], None]) -> GeneratedImage:
        """Decode the image, and refine its faces if the request says so. Raises `RenderError`.

        `after_step` is called after each step of a face.
        """
        with self._memory.running(), count_graphs(self._model.checkpoint) as graphs:
            image, warnings, drift = self._finish(after_step)
        self._memory.record()
        state = self.state
        attention = self._model.checkpoint.attention
        slow = () if attention.warning is None else (attention.warning,)
        cache = None if state.cache is None else state.cache.report()
        told = (*state.warnings, *_cache_warnings(cache), *warnings, *slow)
        always = self._model.checkpoint.batch_branches and branches_can_batch(self._request)
        batched = self._batches_branches or always
        return GeneratedImage(image, state.seed, told, cache, self._recompiled + graphs(), drift, batched)

    def _finish(self, after_step: Callable[[], None]) -> tuple[Image.Image, list[str], FoundDrift | None]:
        """The finished image, the warnings about it, and its drift."""
        state, request, model = self.state, self._request, self._model
        warnings, drift = [], None
        with explain_failure(request, self._entry, model.precision):
            image = finish(state)
        if state.total and state.compiled is None and model.checkpoint.compiled is not None:
            warnings.append(UNCOMPILED)
        if state.total and (flat := flat_warning(image)):
            warnings.append(flat)
        if request.faces is not None:
            with explain_failure(request, self._entry, model.precision):
                refined = self._refine_faces(image, request.faces, after_step)
            if refined is None:
                warnings.append("No face was found, so none was refined.")
            else:
                image = refined
        if request.guard is not None:
            from pipelines.editing.drift.guard import guard_image  # with OpenCV, which few renders need

            guarded = guard_image(image, request.guard, request)
            image, drift = guarded.image, guarded.drift
            warnings += guarded.warnings
        if request.watermark is not None:
            image = draw_watermark(image, request.watermark)
        return image, warnings, drift

    def _refine_faces(
        self, image: Image.Image, faces: FaceRefinement, after_step: Callable[[], None]
    ) -> Image.Image | None:
        """The image with each of its faces rendered again; None when there is no face."""
        boxes = find_faces(image, faces.confidence)
        if not boxes:
            return None
        with tempfile.TemporaryDirectory() as folder:
            for box in boxes:
                request = face_request(image, box, self._request, faces, Path(folder))
                try:
                    state = prepare(request, self._index, self._model, self._entry)
                except PromptError as error:
                    error.path = f"faces.{error.path}"
                    raise
                while state.step < state.total:
                    advance([state])
                    after_step()
                image = finish(state)
        return image


def evaluate_together(renders: Sequence[ImageRender]) -> None:
    """Evaluate the next step of several images in one pass over the blocks. `advance` of each then uses it.

    They are of equal `weights`, and have neither step caches nor ControlNets. An error changes none of them.
    """
    with ExitStack() as parts:
        for render in renders:
            parts.enter_context(render._memory.running())
            parts.enter_context(render._timer.step(len(renders)))
        graphs = parts.enter_context(count_graphs(renders[0]._model.checkpoint))
        evaluate_next([render.state for render in renders])
        renders[0]._recompiled += graphs()


def graph_together(renders: Sequence[ImageRender]) -> Hashable | None:
    """What the compiled graph of these images together depends on. None where they run through that of each alone."""
    states = [render.state for render in renders]
    first = states[0]
    if first.compiled is None or not first.checkpoint.batch_branches:
        return None
    forwards = sum(1 if state.uncond is None else 2 for state in states)
    timesteps = len({state.sigmas[state.step].number for state in states})
    return id(first.checkpoint.compiled), forwards, min(timesteps, _SYMBOLIC), bool(first.loras.hooks)


def _batches_branches(request: RenderRequest, model: LoadedModel, work: Workload) -> bool:
    """Whether a measurement says that both branches of guidance gain as one batch, and there is the memory for it."""
    gains = model.checkpoint.branch_gains
    if gains is None or not gains.branches_together(request):
        return False
    return model.admission is None or model.admission.fits_beside(work, work.denoise_bytes)


def _cache_warnings(cache: CacheReport | None) -> Iterator[str]:
    if cache is None:
        return
    if not cache.reused_forwards:
        yield f"The cache '{cache.strategy}' reused none of the {cache.steps} steps."
    if count := sum(decision.reason == "not_finite" for decision in cache.decisions):
        yield f"The cache '{cache.strategy}' measured no finite distance in {count} forwards, so they were computed."
