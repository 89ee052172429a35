"""The drift that was found in a finished image, as receipts tell it. Plain numbers; imports no torch and no OpenCV."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FoundDrift:
    """How an edit had moved its picture about the centre: right and down in pixels, and the factor of its scale.

    `moved_back` says whether the image was moved back.
    """

    dx: float
    dy: float
    scale: float
    moved_back: bool

    def __str__(self) -> str:
        return f"{self.dx:+.2f} pixels to the right, {self.dy:+.2f} down, {self.scale:.4f} times as large"
