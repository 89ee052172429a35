"""How the images of one worker share its device. Plain values, which travel to the worker process."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sharing:
    """With `overlap`, what comes before and after the steps of an image runs beside the steps of another one."""

    overlap: bool = False


ALONE = Sharing()
