"""Several images of one job that are advanced in one pass over the blocks.

The loop of the worker takes them for one image. Knows no connection and no queue.
"""

from collections.abc import Callable, Sequence

from pipelines.image_render import evaluate_together
from server.jobs.workers.messages import ImageWritten
from server.jobs.workers.open_image import OpenImage


class ImageGroup:
    """Images of one request with different seeds. The first one is shown while they are under way."""

    def __init__(self, images: Sequence[OpenImage]) -> None:
        self._images = images
        self._first = images[0]

    @property
    def step(self) -> int:
        """The steps that are done."""
        return self._first.step

    @property
    def steps(self) -> int:
        """The steps of each image."""
        return self._first.steps

    @property
    def ready(self) -> bool:
        """Whether all steps are done."""
        return self._first.ready

    @property
    def step_reused(self) -> bool:
        """Whether the last step was reused. Images with a step cache are in no group."""
        return False

    def share(self) -> None:
        """Note that another image is under way too."""
        for image in self._images:
            image.share()

    def prepare(self) -> None:
        """Encode the prompt and the pictures. Raises `RenderError`."""
        self.share()  # the memory of several images tells nothing about one
        for image in self._images:
            image.prepare()

    def advance(self) -> None:
        """Advance all images by one step."""
        for image in self._images:
            image.begin_step()
        evaluate_together([image.render for image in self._images])
        for image in self._images:
            image.advance()

    def preview(self) -> Callable[[], bytes] | None:
        """What makes a small JPEG file of the first image."""
        return self._first.preview()

    def decode(self, after_step: Callable[[], None]) -> None:
        """Decode all images. Raises `RenderError`."""
        for image in self._images:
            image.decode(after_step)

    def write(self) -> tuple[ImageWritten, ...]:
        """Check the images, and write their files."""
        return tuple(written for image in self._images for written in image.write())
