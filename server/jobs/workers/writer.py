"""What the jobs of a worker are rendered with: the models of its device, as the loop sees them.

`ImageWriter` is the real one. Imports no torch.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from pipelines.batching import MOST_IMAGES, BatchGains
from pipelines.models.engaged import Engaged
from server.jobs.workers.messages import Output, RenderJob
from server.jobs.workers.open_job import Image


class Measured(Protocol):
    """What was measured about images that are advanced together."""

    def images_together(self, job: RenderJob) -> int:
        """How many images of a job are faster together than one after the other."""
        ...

    def tasks_together(self, job: RenderJob, images: int = MOST_IMAGES) -> int:
        """The largest number of images of several jobs like this one, up to `images`, that are faster together."""
        ...


class Room(Measured, Protocol):
    """What the models of a device have room for."""

    def loads(self, job: RenderJob) -> bool:
        """Whether other weights have to be loaded for a job. No image may be under way then."""
        ...

    def fits_beside(self, job: RenderJob, others: Sequence[RenderJob]) -> bool:
        """Whether the memory is enough for the images of these jobs together."""
        ...


class Writer(Room, Protocol):
    """Renders images into files. Its `description` is the device in words.

    `engaged` is what its model runs with. `gains` are the measurements of batches that hold on its device.
    """

    description: str
    on_gpu: bool
    engaged: Engaged | None
    gains: BatchGains | None

    def open(self, job: RenderJob, outputs: Sequence[Output], before_load: Callable[[], None]) -> Image:
        """An image of a job that is not prepared yet, or several together.

        Call `before_load` before other weights are loaded.
        """
        ...

    def evaluate(self, images: Sequence[Image]) -> None:
        """Evaluate the next step of several images in one pass. An error changes none of them."""
        ...

    def compiles(self, images: Sequence[Image]) -> bool:
        """Whether the blocks are compiled for the next step of these images together, which may take a minute."""
        ...

    def encodes_beside(self) -> bool:
        """Whether a prompt can be encoded beside the steps of another image."""
        ...

    def decodes_beside(self, job: RenderJob, stepping: RenderJob | None) -> bool:
        """Whether an image can be decoded beside the steps of another one."""
        ...

    def beside(self) -> AbstractContextManager[None]:
        """Work inside the `with` beside the steps."""
        ...

    def keep_pace(self) -> None:
        """Called after each step."""
        ...

    def note_written(self) -> None:
        """An image is in its file."""
        ...

    def free_memory(self) -> None:
        """Free all that the next image does not need, because the device ran out of memory."""
        ...

    def close(self) -> None:
        """Give back the setting of the device."""
        ...
