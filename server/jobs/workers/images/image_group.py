"""Several images of one job that are advanced in one pass over the blocks, and images of several jobs likewise.

The loop of the worker takes those of one job for one image. Knows no connection and no queue.
"""

from collections.abc import Callable, Hashable, Sequence

from pipelines.image_render import evaluate_together, graph_together
from server.jobs.workers.images.open_image import OpenImage
from server.jobs.workers.messages import ImageWritten


class ImageGroup:
    """Images of one request with different seeds. The first one is shown while they are under way."""

    def __init__(self, images: Sequence[OpenImage]) -> None:
        self.images = images
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
        for image in self.images:
            image.share()

    def prepare(self) -> None:
        """Encode the prompt and the pictures. Raises `RenderError`."""
        self.share()  # the memory of several images tells nothing about one
        for image in self.images:
            image.prepare()

    @property
    def weights(self) -> Hashable:
        """What the blocks run with."""
        return self._first.weights

    def advance(self) -> None:
        """Advance all images by one step."""
        if not self._first.evaluated:
            evaluate([self])
        for image in self.images:
            image.advance()

    def preview(self) -> Callable[[], bytes] | None:
        """What makes a small JPEG file of the first image."""
        return self._first.preview()

    def decode(self, after_step: Callable[[], None]) -> None:
        """Decode all images. Raises `RenderError`."""
        for image in self.images:
            image.decode(after_step)

    def write(self) -> tuple[ImageWritten, ...]:
        """Check the images, and write their files."""
        return tuple(written for image in self.images for written in image.write())


def evaluate(images: Sequence[OpenImage | ImageGroup]) -> None:
    """Evaluate the next step of images of one or of several jobs. `advance` of each then uses it.

    An error changes none of them.
    """
    each = _flat(images)
    for image in each:
        image.begin_step(len(each))
    evaluate_together([image.render for image in each])


def graph_of(images: Sequence[OpenImage | ImageGroup]) -> Hashable | None:
    """What the compiled graph of images together depends on. None where none is compiled for them."""
    return graph_together([image.render for image in _flat(images)])


def _flat(images: Sequence[OpenImage | ImageGroup]) -> list[OpenImage]:
    return [one for image in images for one in (image.images if isinstance(image, ImageGroup) else [image])]
