"""The limits of a request, each stated once: sides, steps, seeds, scales, weights, prompts.

The wire's schema, the Python API, the command options and the pipelines import them. Plain numbers.
"""

# Pixels. A token covers 16 × 16 pixels, so every side is a multiple of that.
SIDE_MULTIPLE = 16
MIN_SIDE, MAX_SIDE = 128, 2048
PROPOSED_SIDE = 1024  # of a picture whose size the client need not choose
MAX_STEPS = 50
MAX_SEED = 2**63 - 1
MAX_PROMPT = 32_000  # characters
# Only the direction of guidance counts, and that has stopped moving well before this scale.
MAX_TRUE_CFG_SCALE = 100
MAX_ADAPTER_WEIGHT = 4  # of a LoRA or a ControlNet; negative weights go as far
MIN_MASK_MARGIN, MAX_MASK_MARGIN = 32, 128  # pixels
DEFAULT_STRENGTH = 0.8  # of a seed image: the vendor's
# A picture is scaled to an area, and Qwen2.5-VL takes no picture whose sides differ by more than 1:200 after that.
MAX_ASPECT = 100


def is_side(pixels: int) -> bool:
    """Whether a picture may have a side of this length."""
    return MIN_SIDE <= pixels <= MAX_SIDE and pixels % SIDE_MULTIPLE == 0
