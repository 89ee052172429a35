"""The limits of a request, each stated once: sides, steps, seeds.

The wire's schema, the command options and the pipelines import them. Plain numbers; imports nothing.
"""

# Pixels. A token covers 16 × 16 pixels, so every side is a multiple of that.
SIDE_MULTIPLE = 16
MIN_SIDE, MAX_SIDE = 128, 2048
MAX_STEPS = 50
MAX_SEED = 2**63 - 1


def is_side(pixels: int) -> bool:
    """Whether a picture may have a side of this length."""
    return MIN_SIDE <= pixels <= MAX_SIDE and pixels % SIDE_MULTIPLE == 0


def nearest_side(pixels: float) -> int:
    """The legal side next to a length."""
    return min(MAX_SIDE, max(MIN_SIDE, SIDE_MULTIPLE * round(pixels / SIDE_MULTIPLE)))
