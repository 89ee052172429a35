"""The models of one device, and the images that are rendered with them.

Runs in a worker process. Imports torch only where it loads and renders. Knows no connection and no queue.
"""

import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import structlog

from pipelines.batching import MOST_IMAGES, BatchGains, read_gains, shape_of
from pipelines.catalog.catalog import Catalog, ModelEntry
from pipelines.models.planning.workload import Workload
from pipelines.models.residency.options import ModelOptions
from server.jobs.workers.images.phase_clock import PhaseClock
from server.jobs.workers.messages import Output, RenderJob
from server.jobs.workers.open_job import Image

if TYPE_CHECKING:
    from pipelines.catalog.component_files import ComponentFiles
    from pipelines.models.checkpoint import LoadedModel
    from pipelines.models.engaged import Engaged
    from server.jobs.workers.images.image_group import ImageGroup
    from server.jobs.workers.images.open_image import OpenImage

log = structlog.get_logger()

BeforeLoad = Callable[[], None]


def _ignore() -> None:
    """Do nothing before a load."""


class Models(Protocol):
    """The models of one device."""

    def get(self, entry: ModelEntry) -> "LoadedModel":
        """The model of an entry, loaded if need be. Raises `LoadError`."""
        ...

    def free_memory(self, *, models: bool) -> None:
        """Drop what the models keep beside their weights, or the `models` too."""
        ...


class ImageWriter:
    """The models of one device, which is set for the loaded one until `close`.

    The first model of the catalogue is loaded at once. Raises `RenderError`.
    """

    def __init__(
        self,
        device: str,
        catalog: Catalog,
        options: ModelOptions,
        batching: Path | None = None,
        models: Models | None = None,
    ) -> None:
        """`batching` is the file of what was measured about images that are advanced together.

        `models` has the models of the catalogue; by default they are loaded with the `options`.
        """
        log.info("loading", device=device, model=catalog.entries[0].air, weights=str(catalog.entries[0].files))
        import torch

        from pipelines.models.devices import device_name
        from pipelines.models.residency.model_cache import ModelCache
        from pipelines.models.running.side_streams import SideStreams
        from pipelines.models.running.step_timer import StepPace

        self._catalog = catalog
        self._models: Models = models or ModelCache(device, options)
        self.on_gpu = torch.device(device).type == "cuda"
        self._streams, self._pace = SideStreams(torch.device(device)), StepPace(torch.device(device))
        self._setting = ExitStack()  # of the loaded model
        self._files: ComponentFiles | None = None
        self._model: LoadedModel | None = None
        self.description = device_name(device)
        self.engaged: Engaged | None = None
        self._use(catalog.entries[0], self._models.get(catalog.entries[0]))
        self._ran_out = False  # since the last image
        self._graphs = set[Hashable]()  # that were compiled for images together
        gains = None if batching is None else _read_gains(batching, self.description, torch.__version__)
        self.gains = None if gains is None else gains.allowed(on_gpu=self.on_gpu)

    def loads(self, job: RenderJob) -> bool:
        """Whether other weights have to be loaded for a job. No image may be under way then."""
        entry = self._catalog.find(job.request.model)
        return entry is not None and entry.files != self._files

    def images_together(self, job: RenderJob) -> int:
        """How many images of a job are faster together than one after the other, as measured on this device."""
        images = 1 if self.gains is None else self.gains.images_together(job.request)
        while not self._has_memory(job, images):
            images -= 1
        return images

    def tasks_together(self, job: RenderJob, images: int = MOST_IMAGES) -> int:
        """The largest number of images of several jobs like this one, up to `images`, that are faster together."""
        if self.gains is None:
            return 1
        shape = shape_of(job.request)
        images = self.gains.tasks_together(shape, images)
        while not self._has_memory(job, images):
            images = self.gains.tasks_together(shape, images - 1)
        return images

    def open(
        self, job: RenderJob, outputs: Sequence[Output], before_load: BeforeLoad = _ignore
    ) -> "OpenImage | ImageGroup":
        """An image of a job that is not prepared yet, or several together.

        `before_load` is called if other weights have to be loaded. Raises `RenderError`.
        """
        from pipelines.image_render import ImageRender
        from pipelines.previews.latent_rgb import latent_rgb
        from pipelines.previews.previewer import Previewer
        from server.jobs.workers.images.image_group import ImageGroup
        from server.jobs.workers.images.open_image import OpenImage

        entry = self._catalog.find(job.request.model)
        if entry is None:
            raise LookupError(f"{job.request.model} is no longer in the catalogue")
        phases = PhaseClock("prepare" if entry.files == self._files else "load")
        model = self._load(entry, before_load)
        phases.begin("prepare")
        images = [
            OpenImage(
                job,
                output,
                entry,
                ImageRender(job.request, output.index, model, entry),
                Previewer(latent_rgb(entry)),
                device=self.description,
                precision=model.precision,
                engaged=self.engaged,
                phases=phases if output is outputs[0] else PhaseClock("prepare"),
            )
            for output in outputs
        ]
        return images[0] if len(images) == 1 else ImageGroup(images)

    def fits_beside(self, job: RenderJob, others: Sequence[RenderJob]) -> bool:
        """Whether the memory of the device is enough for the images of these jobs together. They share the model."""
        admission = None if self._model is None else self._model.admission
        return admission is None or admission.fits_together([self._workload(each) for each in (job, *others)])

    def evaluate(self, images: Sequence[Image]) -> None:
        """Evaluate the next step of several images of `open` in one pass. An error changes none of them."""
        from server.jobs.workers.images.image_group import evaluate

        evaluate(cast("Sequence[OpenImage | ImageGroup]", images))

    def compiles(self, images: Sequence[Image]) -> bool:
        """Whether the blocks are compiled for the next step of these images together, which may take a minute."""
        from server.jobs.workers.images.image_group import graph_of

        graph = graph_of(cast("Sequence[OpenImage | ImageGroup]", images))
        if graph is None or graph in self._graphs:
            return False
        self._graphs.add(graph)
        return True

    def encodes_beside(self) -> bool:
        """Whether a prompt can be encoded beside the steps of another image.

        On a CPU both would want the same cores. An encoder that waits in host memory has no place on the card then.
        """
        return self.on_gpu and self._model is not None and self._model.checkpoint.waiting is None

    def decodes_beside(self, job: RenderJob, stepping: RenderJob | None) -> bool:
        """Whether an image can be decoded beside the steps of another one: on a GPU that has the memory for both.

        Faces are refined with the transformer, which takes one step at a time.
        """
        if not self.on_gpu or job.request.faces is not None or self._model is None:
            return False
        admission = self._model.admission
        works = [self._workload(each) for each in (job, stepping or job)]
        return admission is None or admission.fits_beside(works[1], works[0].decode_bytes)

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Work inside the `with` beside the steps, on a stream of this thread."""
        with self._streams.running():
            yield

    def keep_pace(self) -> None:
        """Call after each step: the host must not run ahead of the device."""
        self._pace.keep()

    def note_written(self) -> None:
        """An image was finished, so the memory is enough for one."""
        self._ran_out = False

    def free_memory(self) -> None:
        """Drop what is kept beside the weights. The weights go too if it is the second time without an image between.

        The next image then loads them anew.
        """
        log.warning("the device ran out of memory", device=self.description, weights_dropped=self._ran_out)
        if self._ran_out:
            self._forget_model()
        self._models.free_memory(models=self._ran_out)
        self._ran_out = not self._ran_out

    def close(self) -> None:
        """Give back the setting of the device."""
        self._setting.close()

    def _has_memory(self, job: RenderJob, images: int) -> bool:
        """Whether this number of images of a job can have their step together. One is always tried."""
        admission = None if self._model is None else self._model.admission
        if images == 1 or admission is None:
            return True
        return admission.fits_beside(replace(self._workload(job), results=images), 0)

    def _workload(self, job: RenderJob) -> Workload:
        from pipelines.models.planning.entries import workload_of

        entry = self._catalog.find(job.request.model)
        return Workload() if entry is None else workload_of(job.request, entry)

    def _load(self, entry: ModelEntry, before_load: BeforeLoad) -> "LoadedModel":
        """The model of an entry. The log says when other weights are loaded, because that takes a while."""
        if entry.files == self._files:
            self._model = model = self._models.get(entry)
            self._follow(entry, model)
            return model
        self._forget_model()  # the weights before are dropped, whether or not these can be loaded
        before_load()
        log.info("loading", device=self.description, model=entry.air, weights=str(entry.files))
        started = time.monotonic()
        model = self._models.get(entry)
        log.info("loaded", device=self.description, model=entry.air, seconds=round(time.monotonic() - started, 1))
        self._use(entry, model)
        return model

    def _use(self, entry: ModelEntry, model: "LoadedModel") -> None:
        """Set the device for a model, and note what its weights run with."""
        from pipelines.models.running.device_setting import device_setting

        self._setting.enter_context(device_setting(model.checkpoint))
        self._files, self._model = entry.files, model
        self._note_engaged(entry, model)

    def _follow(self, entry: ModelEntry, model: "LoadedModel") -> None:
        """Note what has changed since the last image: blocks that are compiled now, and graphs."""
        if self.engaged is not None and self.engaged.compiling != model.checkpoint.compiling:
            self._note_engaged(entry, model)
        if self.engaged is not None and model.checkpoint.graphs is not None:
            self.engaged = replace(self.engaged, graphs=model.checkpoint.graphs.count)

    def _note_engaged(self, entry: ModelEntry, model: "LoadedModel") -> None:
        """Remember and log what the weights run with, and why the plan is as it is."""
        self.engaged = engaged = model.engaged(entry.air)
        if engaged.attention_warning is not None:
            log.warning("attention may be slow", device=self.description, reason=engaged.attention_warning)
        log.info("engaged", device=self.description, model=entry.air, weights=str(engaged))
        for reason in () if model.plan is None or engaged.plain else model.plan.reasons:
            log.info("plan", model=entry.air, reason=reason)

    def _forget_model(self) -> None:
        self._setting.close()
        self._files = self._model = None


def _read_gains(path: Path, device: str, torch: str) -> BatchGains | None:
    """What was measured on this device. The log says what comes of the file."""
    try:
        gains = read_gains(path, device, torch)
    except ValueError as error:
        log.warning("no images are advanced together", reason=str(error))
        return None
    if gains is not None:
        log.info("images are advanced together where it pays", device=device, measurements=len(gains.gains))
    return gains
