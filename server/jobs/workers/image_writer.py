"""Renders one image of a job and writes it, with its receipt, into its file.

Runs in a worker process. Imports torch only where it loads and renders. Knows no connection and no queue.
"""

import hashlib
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from pipelines.catalog.catalog import Catalog, ModelEntry
from pipelines.models.residency.options import ModelOptions
from pipelines.request import RenderRequest
from server.jobs.estimates import Measured
from server.jobs.workers.messages import ImageWritten, Output, RenderJob
from server.media.encode import Encoding, encode
from server.media.files import write_file
from server.media.metadata import fits

if TYPE_CHECKING:
    from pipelines.catalog.component_files import ComponentFiles
    from pipelines.generate import GeneratedImage
    from pipelines.models.checkpoint import LoadedModel
    from pipelines.models.engaged import Engaged
    from pipelines.previews.previewer import Previewer

log = structlog.get_logger()

# Of a preview: 2 to 8 KB, with blocks that are hardly seen at 128 pixels.
PREVIEW_ENCODING = Encoding("JPG", 75)

AfterStep = Callable[[int, int], None]  # steps done, and steps in all; may raise to stop the image
BeforeLoad = Callable[[], None]


def _ignore() -> None:
    """Do nothing before a load."""


class ImageWriter:
    """The models of one device. The first model of the catalogue is loaded at once. Raises `RenderError`."""

    def __init__(self, device: str, catalog: Catalog, options: ModelOptions) -> None:
        log.info("loading", device=device, model=catalog.entries[0].air, weights=str(catalog.entries[0].files))
        from pipelines.models.devices import device_name
        from pipelines.models.residency.model_cache import ModelCache

        self._catalog = catalog
        self._models = ModelCache(device, options)
        self._files: ComponentFiles | None = catalog.entries[0].files
        self.description = device_name(device)
        self.engaged: Engaged | None = None
        self._note_engaged(catalog.entries[0], self._models.get(catalog.entries[0]))
        self._ran_out = False  # since the last image
        self._previewer: Previewer | None = None

    @property
    def step_reused(self) -> bool:
        """Whether the step cache reused the last step of the image under way."""
        return self._previewer is not None and self._previewer.step_reused

    def preview(self) -> bytes | None:
        """The image under way as a small JPEG file. None before its first step."""
        picture = None if self._previewer is None else self._previewer.draw()
        return None if picture is None else encode(picture, PREVIEW_ENCODING)

    def write(
        self, job: RenderJob, output: Output, after_step: AfterStep, before_load: BeforeLoad = _ignore
    ) -> ImageWritten:
        """Render an image and write its file.

        `after_step` is called before the first step and after each one. `before_load` is called if other weights
        have to be loaded. Raises `RenderError`, and whatever the two raise.
        """
        from pipelines.detection.content import is_unsafe
        from pipelines.errors import UnsafeContent
        from pipelines.generate import generate
        from pipelines.previews.latent_rgb import latent_rgb
        from pipelines.previews.previewer import Previewer
        from pipelines.receipt import make_receipt, with_engaged

        started = time.monotonic()
        entry = self._catalog.find(job.request.model)
        if entry is None:
            raise LookupError(f"{job.request.model} is no longer in the catalogue")
        model = self._load(entry, before_load)
        clock = _StepClock(after_step)
        self._previewer = previewer = Previewer(latent_rgb(entry))
        try:
            generated = generate(job.request, output.index, model, entry, clock.after_step, previewer.look)
        finally:
            self._previewer = None  # it holds latents
        image, seed, warnings = generated.image, generated.seed, generated.warnings
        unsafe = is_unsafe(image) if job.safety is not None else None
        if unsafe and job.safety == "block":
            raise UnsafeContent
        encoding = (job.encoding.format, job.encoding.quality)
        made = make_receipt(job.request, seed, encoding, entry, self.description, model.precision, generated.cache)
        receipt = with_engaged(made, self.engaged).to_json()
        in_file = fits(receipt, job.encoding.format)
        if not in_file:
            warnings += ("The prompts are too long for a JPG to carry the receipt; /v1/receipts has it.",)
        data = encode(image, job.encoding, receipt if in_file else None)
        write_file(output.path, data)
        self._ran_out = False
        return ImageWritten(
            job_id=job.job_id,
            index=output.index,
            width=image.width,
            height=image.height,
            sha256=hashlib.sha256(data).hexdigest(),
            seed=seed,
            seconds=time.monotonic() - started,
            receipt=receipt,
            warnings=warnings,
            cache=generated.cache,
            engaged=self.engaged,
            recompiled=generated.recompiled,
            unsafe=unsafe,
            measured=clock.measured(job.request, generated),
        )

    def free_memory(self) -> None:
        """Drop what is kept beside the weights. The weights go too if it is the second time without an image between.

        The next image then loads them anew.
        """
        log.warning("the device ran out of memory", device=self.description, weights_dropped=self._ran_out)
        self._models.free_memory(models=self._ran_out)
        if self._ran_out:
            self._files = None
        self._ran_out = not self._ran_out

    def _load(self, entry: ModelEntry, before_load: BeforeLoad) -> "LoadedModel":
        """The model of an entry. The log says when other weights are loaded, because that takes a while."""
        if entry.files == self._files:
            return self._models.get(entry)
        self._files = None  # the weights before are dropped, whether or not these can be loaded
        before_load()
        log.info("loading", device=self.description, model=entry.air, weights=str(entry.files))
        started = time.monotonic()
        model = self._models.get(entry)
        self._files = entry.files
        log.info("loaded", device=self.description, model=entry.air, seconds=round(time.monotonic() - started, 1))
        self._note_engaged(entry, model)
        return model

    def _note_engaged(self, entry: ModelEntry, model: "LoadedModel") -> None:
        """Remember and log what the weights run with, and why the plan is as it is."""
        self.engaged = engaged = model.engaged(entry.air)
        if engaged.attention_warning is not None:
            log.warning("attention may be slow", device=self.description, reason=engaged.attention_warning)
        log.info("engaged", device=self.description, model=entry.air, weights=str(engaged))
        for reason in () if model.plan is None or engaged.plain else model.plan.reasons:
            log.info("plan", model=entry.air, reason=reason)


class _StepClock:
    """Measures the parts of an image: its steps, and the rest up to its file. The weights are loaded already."""

    def __init__(self, after_step: AfterStep) -> None:
        self._after_step = after_step
        self._created = self._begun = self._ended = time.monotonic()
        self._steps = 0

    def after_step(self, step: int, steps: int) -> None:
        """Note the time, and pass the step on. The same step again belongs to the rest."""
        if step == 0:
            self._begun = time.monotonic()
        elif step > self._steps:
            self._steps, self._ended = step, time.monotonic()
        self._after_step(step, steps)

    def measured(self, request: RenderRequest, generated: "GeneratedImage") -> Measured | None:
        """The seconds of a computed step, and of the rest until now. None without a step, or with refined faces."""
        if not self._steps or request.faces is not None:
            return None
        steps = self._ended - self._begun
        saved = 0.0 if generated.cache is None else generated.cache.seconds_saved
        return Measured((steps + saved) / self._steps, time.monotonic() - self._created - steps)
