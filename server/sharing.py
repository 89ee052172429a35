"""How the images of one worker share its device. Plain values, which travel to the worker process."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sharing:
    """With `overlap`, what comes before and after the steps of an image runs beside the steps of another one.

    `renders` tasks take turns step by step; with 1 each has all its steps before the next one.
    """

    overlap: bool = False
    renders: int = 1


ALONE = Sharing()
