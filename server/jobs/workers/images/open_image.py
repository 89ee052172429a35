"""One image of a job under way, from its prompt to its file with the receipt.

Runs in a worker process, which has imported torch. `write` needs no device, so it may run beside the steps of another
image; with streams of their own, so may `prepare` and `decode`. Knows no connection and no queue.
"""

import hashlib
import time
from collections.abc import Callable, Hashable

from pipelines.catalog.catalog import ModelEntry
from pipelines.detection import content
from pipelines.errors import UnsafeContent
from pipelines.image_render import GeneratedImage, ImageRender
from pipelines.models.engaged import Engaged
from pipelines.previews.previewer import Previewer
from pipelines.receipt import make_receipt, with_engaged
from server.jobs.estimates import Measured
from server.jobs.workers.images.phase_clock import PhaseClock
from server.jobs.workers.messages import ImageWritten, Output, RenderJob
from server.media.encode import Encoding, encode
from server.media.files import write_file
from server.media.metadata import fits

# Of a preview: 2 to 8 KB, with blocks that are hardly seen at 128 pixels.
PREVIEW_ENCODING = Encoding("JPG", 75)

LONG_RECEIPT = "The prompts are too long for a JPG to carry the receipt; /v1/receipts has it."


class OpenImage:
    """One image of a job: `prepare`, `advance` until it is `ready`, `decode`, `write`."""

    def __init__(
        self,
        job: RenderJob,
        output: Output,
        entry: ModelEntry,
        render: ImageRender,
        previewer: Previewer,
        *,
        device: str,
        precision: str,
        engaged: Engaged | None,
        phases: PhaseClock,
    ) -> None:
        """`device`, `precision` and `engaged` are for the receipt."""
        self._job, self._output, self._entry = job, output, entry
        self.render, self._previewer = render, previewer
        self._device, self._precision, self._engaged = device, precision, engaged
        self._phases = phases
        self._created = time.monotonic()
        self._together = 1  # images at most that had a step with it, with itself
        self._rest = 0.0  # seconds of its own parts beside the steps
        self._generated: GeneratedImage | None = None

    @property
    def step(self) -> int:
        """The steps that are done."""
        return self.render.state.step

    @property
    def steps(self) -> int:
        """The steps of the image."""
        return self.render.state.total

    @property
    def ready(self) -> bool:
        """Whether all steps are done."""
        return self.render.ready

    @property
    def weights(self) -> Hashable:
        """What the blocks run with."""
        return self.render.weights

    @property
    def evaluated(self) -> bool:
        """Whether the next step was evaluated with those of other images."""
        return self.render.state.velocity is not None

    @property
    def step_reused(self) -> bool:
        """Whether the step cache reused the last step."""
        return self._previewer.step_reused

    def share(self) -> None:
        """Note that another image is under way too."""
        self.render.share()

    def prepare(self) -> None:
        """Encode the prompt and the pictures. Raises `RenderError`."""
        started = time.perf_counter()
        self._phases.begin("prepare")
        self.render.prepare()
        self._previewer.look(self.render.state)
        self._rest += time.perf_counter() - started

    def begin_step(self, together: int = 1) -> None:
        """A step begins, of this image alone or of several together."""
        self._phases.begin("steps")
        self._together = max(self._together, together)

    def advance(self) -> None:
        """Advance the image by one step, and look at it for previews."""
        self.begin_step()
        self.render.advance()
        self._previewer.look(self.render.state)

    def preview(self) -> Callable[[], bytes] | None:
        """What makes a small JPEG file of the last step, now or later. None before the first step."""
        draw = self._previewer.latest()
        return None if draw is None else lambda: encode(draw(), PREVIEW_ENCODING)

    def decode(self, after_step: Callable[[], None]) -> None:
        """Decode the image, and refine its faces with a call of `after_step` after each step. Raises `RenderError`."""
        started = time.perf_counter()
        self._phases.begin("decode")
        self._generated = self.render.decode(after_step)
        self._rest += time.perf_counter() - started

    def write(self) -> tuple[ImageWritten]:
        """Check the image, and write its file. Raises `UnsafeContent` for one that is to be blocked."""
        started = time.perf_counter()
        self._phases.begin("encode")
        job, generated = self._job, self._generated
        if generated is None:
            raise ValueError("the image is not decoded")
        image, warnings = generated.image, generated.warnings
        unsafe = content.is_unsafe(image) if job.safety is not None else None
        if unsafe and job.safety == "block":
            raise UnsafeContent
        encoding = (job.encoding.format, job.encoding.quality)
        made = make_receipt(
            job.request,
            generated.seed,
            encoding,
            self._entry,
            self._device,
            self._precision,
            generated.cache,
            generated.drift,
            # On a CPU not one bit may differ, so that the receipt does not either.
            batched=self._together if self.render.rounds_batches and self._together > 1 else None,
        )
        receipt = with_engaged(made, self._engaged, batched_cfg=generated.batched_branches).to_json()
        in_file = fits(receipt, job.encoding.format)
        if not in_file:
            warnings += (LONG_RECEIPT,)
        data = encode(image, job.encoding, receipt if in_file else None)
        write_file(self._output.path, data)
        self._rest += time.perf_counter() - started
        written = ImageWritten(
            job_id=job.job_id,
            index=self._output.index,
            width=image.width,
            height=image.height,
            sha256=hashlib.sha256(data).hexdigest(),
            seed=generated.seed,
            seconds=time.monotonic() - self._created,
            receipt=receipt,
            warnings=warnings,
            cache=generated.cache,
            engaged=self._engaged,
            recompiled=generated.recompiled,
            unsafe=unsafe,
            measured=self._measured(generated),
            busy=self.render.step_seconds() + self._rest,
            phases=self._phases.end(),
            together=self._together,
            batched_branches=generated.batched_branches,
        )
        return (written,)

    def _measured(self, generated: GeneratedImage) -> Measured | None:
        """The seconds of a computed step, and of the rest. None without a step, or with refined faces."""
        if not self.steps or self._job.request.faces is not None:
            return None
        saved = 0.0 if generated.cache is None else generated.cache.seconds_saved
        return Measured((self.render.step_seconds() + saved) / self.steps, self._rest)
