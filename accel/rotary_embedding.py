"""The rotary embedding of one forward: complex, as the library computes it, and real, as compiled blocks need it.

Knows numbers; knows no block.
"""

from dataclasses import dataclass
from functools import cached_property

import torch

RealRotary = tuple[torch.Tensor, torch.Tensor]  # cosines and sines [tokens, width of a head / 2]


@dataclass(frozen=True)
class RotaryEmbedding:
    """The angles of the tokens of the image and of the text, as complex numbers [tokens, width of a head / 2]."""

    image: torch.Tensor
    text: torch.Tensor

    @cached_property
    def real(self) -> tuple[RealRotary, RealRotary]:
        """The same for the image and for the text as cosines and sines. All blocks of a forward share them."""
        return _cosines_and_sines(self.image), _cosines_and_sines(self.text)

    @property
    def parts(self) -> tuple["RotaryEmbedding", ...]:
        """The forwards of a batch along the tokens: this one alone."""
        return (self,)


@dataclass(frozen=True)
class JoinedRotary:
    """The rotary embeddings of several forwards whose tokens follow each other in one batch."""

    parts: tuple[RotaryEmbedding, ...]


Rotary = RotaryEmbedding | JoinedRotary


def _cosines_and_sines(rotary: torch.Tensor) -> RealRotary:
    return rotary.real.contiguous(), rotary.imag.contiguous()
