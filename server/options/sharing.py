"""How the images of one worker share its device. Plain values, which travel to the worker process."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Sharing:
    """With `overlap`, what comes before and after the steps of an image runs beside the steps of another one.

    `renders` tasks take turns step by step; with 1 each has all its steps before the next one.
    `batching` is the file of what `ownware bench batching` has measured; None advances no images together.
    """

    overlap: bool = False
    renders: int = 1
    batching: Path | None = None


ALONE = Sharing()
