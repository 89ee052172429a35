"""What a command needs of a place that renders: this process, or a server. Knows neither."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from ownware.batch.item import WireTask
from pipelines.receipt import Receipt

OnStep = Callable[[int, int], None]  # steps done, and steps in all; may raise `Interrupted`


@dataclass(frozen=True, slots=True)
class Rendered:
    """One picture in RGB, with its seed, its receipt if there is one, and what the user should know."""

    image: Image.Image
    seed: int
    receipt: Receipt | None
    notes: tuple[str, ...] = ()


class Renderer(Protocol):
    """Makes the pictures of a task."""

    def complete(self, task: WireTask) -> WireTask:
        """The task with a model and a size, where it names none. Raises `ItemError`."""
        ...

    def check(self, task: WireTask) -> None:
        """Find what is wrong with a task before any is rendered. Raises `ItemError` or `BatchError`."""
        ...

    def seconds(self, task: WireTask) -> float | None:
        """The seconds that a task will take. None where that is not known."""
        ...

    def render(self, task: WireTask, on_step: OnStep) -> Iterator[Rendered]:
        """Render the pictures of a task in turn. Raises `ItemError`, `BatchError`, and what `on_step` raises."""
        ...

    def close(self) -> None:
        """Give back what was opened."""
        ...
