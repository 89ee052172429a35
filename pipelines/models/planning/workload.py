"""What a request asks of a device beside the weights: tokens, arithmetic and memory.

The numbers are for Qwen-Image. Knows no weights' place.
"""

from dataclasses import dataclass
from math import ceil

from pipelines.limits import MAX_STEPS
from pipelines.models.planning.cards import GIB
from pipelines.models.planning.sizes import TransformerSizes

KIB = 2**10

_TOKEN_SIDE = 16  # pixels
_PROMPT_TOKENS = 256  # of a usual prompt with its template
# The hidden states of a forward take 1 to 2 GiB at 1024², which has 4352 tokens with a prompt. This is the upper end.
_TOKEN_BYTES = 448 * KIB
# Each further state of a batch keeps its hidden states while the others pass through a block, in both branches.
_WAITING_TOKEN_BYTES = 2 * 2 * 3072 * 2
# A step cache remembers of both branches: a signal, the residuals of a few steps, and that of the text.
_KEPT_TOKEN_BYTES = 2 * 2 * 3072 * 6
# The folded VAE needs 0.69 GiB at 512² in float32, measured on a CPU: half in bfloat16, and more with the area.
_DECODE_BYTES = 0.69 * GIB / 2 / 512**2
# The text encoder's hidden states with a prompt and a picture of a megapixel.
_ENCODE_BYTES = int(0.4 * GIB)
CONTROLNET_PARAMETERS = 1_770_000_000  # of five blocks, as InstantX's Union has


@dataclass(frozen=True, slots=True)
class Workload:
    """The largest request that a plan is made for.

    `references` are reference images of `reference_area` pixels. `controls` are ControlNets. `results` images advance
    together. `guided` means two forwards a step.
    """

    width: int = 1024
    height: int = 1024
    references: int = 0
    reference_area: int = 1024 * 1024
    controls: int = 0
    results: int = 1
    steps: int = MAX_STEPS
    guided: bool = True

    @property
    def tokens(self) -> int:
        """The length of the transformer's sequence: image, references and prompt."""
        return self.picture_tokens + _PROMPT_TOKENS

    @property
    def picture_tokens(self) -> int:
        """The part of the sequence that is the image and the references."""
        references = ceil(self.reference_area / _TOKEN_SIDE**2) * self.references
        return self.width // _TOKEN_SIDE * (self.height // _TOKEN_SIDE) + references

    @property
    def denoise_bytes(self) -> int:
        """The memory of a forward beside all weights, but with those of the ControlNets."""
        waiting = (self.results - 1) * self.tokens * _WAITING_TOKEN_BYTES
        return self.tokens * _TOKEN_BYTES + waiting + 2 * CONTROLNET_PARAMETERS * self.controls

    @property
    def kept_bytes(self) -> int:
        """The memory that a render keeps between its steps: what a step cache remembers, and its ControlNets."""
        return self.tokens * _KEPT_TOKEN_BYTES + 2 * CONTROLNET_PARAMETERS * self.controls

    @property
    def encode_bytes(self) -> int:
        """The memory that the text encoder needs beside its weights."""
        return _ENCODE_BYTES * max(1, self.references)

    @property
    def decode_bytes(self) -> int:
        """The memory that the VAE needs beside its weights. It is less than a forward's, so no image is tiled."""
        area = max(self.width * self.height, self.reference_area if self.references else 0)
        return int(area * _DECODE_BYTES)

    def flops(self, transformer: TransformerSizes) -> float:
        """The floating-point operations of one step: of the linear layers, and of the attention."""
        # Image and text have layers of their own, so a token passes through half of a block's parameters.
        linear = 2 * transformer.blocks * transformer.block / 2 * self.tokens
        attention = 4 * transformer.blocks * transformer.width * self.tokens**2
        return (2 if self.guided else 1) * self.results * (linear + attention)

    def __str__(self) -> str:
        counts = ((self.references, "reference image"), (self.controls, "ControlNet"))
        parts = [f"{count} {name}{'s' if count > 1 else ''}" for count, name in counts if count]
        if self.results > 1:
            parts.append(f"{self.results} results together")
        return f"{self.width}×{self.height}" + (f" with {' and '.join(parts)}" if parts else "")
