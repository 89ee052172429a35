"""One job of a worker: the images that are still to be rendered, and those that are not in their files yet.

Keeps the replies in order: what is told of an image comes after the images before it. Knows no model, no thread and no
other job.
"""

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from pipelines.batching import BatchShape, shape_of
from server.jobs.estimates import step_tokens
from server.jobs.workers.messages import Finished, ImageWritten, Outcome, Output, Preview, Progress, RenderJob, Reply

# A reused step runs the first blocks, which measure how far its signal has moved.
REUSED_PART = 0.1


class Image(Protocol):
    """One image under way. `open_image.OpenImage` is the real one."""

    @property
    def step(self) -> int:
        """The steps that are done."""
        ...

    @property
    def steps(self) -> int:
        """The steps of the image."""
        ...

    @property
    def ready(self) -> bool:
        """Whether all steps are done."""
        ...

    @property
    def step_reused(self) -> bool:
        """Whether the step cache reused the last step."""
        ...

    @property
    def weights(self) -> Hashable:
        """What the blocks run with. Images of equal weights can have a step together."""
        ...

    def share(self) -> None:
        """Note that another image is under way too."""
        ...

    def prepare(self) -> None:
        """Encode the prompt and the pictures."""
        ...

    def advance(self) -> None:
        """Advance the image by one step."""
        ...

    def preview(self) -> Callable[[], bytes] | None:
        """What makes a small JPEG file of the last step. None before the first step."""
        ...

    def decode(self, after_step: Callable[[], None]) -> None:
        """Decode the image. Call `after_step` after each step that this takes."""
        ...

    def write(self) -> Sequence[ImageWritten]:
        """Write the file, or those of all images that were under way together."""
        ...


@dataclass(slots=True)
class Opened:
    """An image with its output, or several that are under way together.

    `overlapped` says whether steps of another image ran while it was written.
    """

    outputs: tuple[Output, ...]
    image: Image
    overlapped: bool = False

    @property
    def index(self) -> int:
        """The index of the first image."""
        return self.outputs[0].index

    def decode_and_write(self) -> Sequence[ImageWritten]:
        """Decode an image without refined faces, and write its file."""
        self.image.decode(lambda: None)
        return self.image.write()


@dataclass(slots=True)
class OpenJob:
    """A job that its worker has not ended. `current` is the image whose steps run.

    `waits_for_encoder` says that it is being prepared in the background. `endings` are the images before it, which are
    written in their order. `begun` says that an image was opened. `alone` lets nothing run beside the job. `outcome` is
    how it ends once all is written.
    """

    job: RenderJob
    outputs: deque[Output] = field(default_factory=deque)
    current: Opened | None = None
    waits_for_encoder: bool = False
    endings: deque[Opened] = field(default_factory=deque)
    begun: bool = False
    alone: bool = False
    watched: bool = False
    next_preview: float = 0.0
    outcome: Outcome | None = None
    _held: list[Progress | Preview] = field(default_factory=list)
    _shape: BatchShape | None = None

    def __post_init__(self) -> None:
        self.outputs.extend(self.job.outputs)
        self.alone = self.job.alone
        self._shape = shape_of(self.job.request)

    @property
    def shape(self) -> BatchShape | None:
        """What its images have in common with those that may have steps together with them. None if they go alone."""
        return None if self.alone else self._shape

    @property
    def may_advance(self) -> bool:
        """Whether an image is ready for its next step."""
        return self.current is not None and not self.waits_for_encoder

    @property
    def steps_wait(self) -> bool:
        """Whether there are steps left, of this image or of the next ones."""
        return self.current is not None or bool(self.outputs)

    @property
    def under_way(self) -> list[Opened]:
        """The images that hold memory of the device."""
        return [*self.endings, *([] if self.current is None else [self.current])]

    @property
    def cost_left(self) -> float:
        """The tokens of all steps of the images that are not opened yet, if none is reused."""
        return len(self.outputs) * self.job.request.executed_steps * self.step_cost(reused=False)

    def step_cost(self, *, reused: bool) -> float:
        """The tokens of a step. One that a step cache reuses costs little."""
        return step_tokens(self.job.request) * (REUSED_PART if reused else 1.0)

    def passes(self, reply: Progress | Preview) -> bool:
        """Whether a reply can be sent now. Else it is held, because an image before it is not written."""
        if self.endings and reply.index > self.endings[0].index:
            self._held.append(reply)
            return False
        return True

    def next_replies(self) -> Iterator[Reply]:
        """The replies that were held, as far as they can be sent now, and the outcome after the last image."""
        held, self._held = self._held, []
        yield from (reply for reply in held if self.passes(reply))
        if not self.endings and not self.steps_wait:
            yield self.outcome or Finished(self.job.job_id)

    def end_steps(self) -> Opened:
        """Count the current image among those that are to be written. Raises `ValueError` without one."""
        if self.current is None:
            raise ValueError("no image is under way")
        self.endings.append(self.current)
        self.current = None
        return self.endings[-1]

    def stop(self, outcome: Outcome) -> None:
        """Let the job end in some way. Images whose steps are done are still written."""
        self.outcome = outcome
        self.outputs.clear()
        self.current, self.waits_for_encoder = None, False

    def set_aside(self) -> None:
        """Give up the image whose steps run. It is rendered from its start when there is a place for it."""
        if self.current is not None:
            self.outputs.extendleft(reversed(self.current.outputs))
        self.current, self.waits_for_encoder = None, False

    def begin_again(self) -> None:
        """Render the images that are not written once more, with nothing beside them."""
        outputs = [output for opened in self.under_way for output in opened.outputs]
        self.outputs.extendleft(reversed(outputs))
        self.endings.clear()
        self._held.clear()
        self.current, self.waits_for_encoder, self.alone = None, False, True
