"""Cards and hosts: their memory, and the speeds that the planner counts with.

Plain numbers with their sources. Looks at no machine: the server finds out what is there.
"""

from dataclasses import dataclass, replace
from typing import Literal

GIB = 2**30
TERA, GIGA = 10**12, 10**9

Generation = Literal["cpu", "older", "ampere", "ada", "hopper", "blackwell"]

# Bytes a second from pinned host memory: 25 GB/s is usual for PCIe 4.0 with 16 lanes, and 50 GB/s for PCIe 5.0.
_LINKS: dict[Generation, float] = {
    "cpu": 0,
    "older": 12 * GIGA,
    "ampere": 25 * GIGA,
    "ada": 25 * GIGA,
    "hopper": 50 * GIGA,
    "blackwell": 50 * GIGA,
}
# Compute capabilities, by their first number; 8.9 is Ada.
_CAPABILITIES: dict[int, Generation] = {8: "ampere", 9: "hopper", 10: "blackwell", 11: "blackwell", 12: "blackwell"}
# Generations whose matrix units multiply FP8, and those that multiply bfloat16.
_WITH_FP8 = ("ada", "hopper", "blackwell")
_WITHOUT_BF16 = ("older",)


@dataclass(frozen=True, slots=True)
class Card:
    """A device to render on.

    `memory` is in bytes, 0 for a CPU. `flops` is the rate of bfloat16 matrix products that a render sustains, and
    `bandwidth` and `link` are bytes a second within the card and from pinned host memory. A CPU has none of these.
    """

    name: str
    generation: Generation
    memory: int
    flops: float = 0
    bandwidth: float = 0
    link: float = 0

    @property
    def has_fp8(self) -> bool:
        """Whether the card multiplies FP8 matrices."""
        return self.generation in _WITH_FP8

    @property
    def has_bf16(self) -> bool:
        """Whether the card multiplies bfloat16 matrices."""
        return self.generation not in _WITHOUT_BF16


@dataclass(frozen=True, slots=True)
class Host:
    """The host's memory in bytes, as far as one worker may use it."""

    memory: int


CPU = Card("the CPU", "cpu", 0)


def _card(name: str, generation: Generation, gib: int, tflops: float, bandwidth: float) -> Card:
    return Card(name, generation, gib * GIB, tflops * TERA, bandwidth * GIGA, _LINKS[generation])


# Memory, sustained TFLOP/s and GB/s. An H100 or H200 draws a guided image of 1024² in 12.4 s for 50 steps (SGLang's
# regression suite): 560 TFLOP/s, or 57 % of the vendor's dense figure. A 4090 takes 1.0 s for such a step: 138 TFLOP/s,
# or 84 %. The others take the share of their class: 57 % for data centers, 84 % for workstations and games.
COMMON_CARDS: tuple[Card, ...] = (
    _card("B200", "blackwell", 180, 1280, 8000),
    _card("H200", "hopper", 141, 560, 4800),
    _card("RTX PRO 6000", "blackwell", 96, 420, 1792),
    _card("H100", "hopper", 80, 560, 3350),
    _card("A100", "ampere", 80, 178, 2039),
    _card("L40S", "ada", 48, 206, 864),
    _card("RTX 6000 Ada", "ada", 48, 206, 960),
    _card("RTX A6000", "ampere", 48, 130, 768),
    _card("RTX 5090", "blackwell", 32, 176, 1792),
    _card("RTX 4090", "ada", 24, 138, 1008),
    _card("RTX 3090", "ampere", 24, 60, 936),
    _card("L4", "ada", 24, 69, 300),
    _card("RTX 5080", "blackwell", 16, 94, 960),
    _card("RTX 5070 Ti", "blackwell", 16, 74, 896),
    _card("RTX 4080", "ada", 16, 82, 717),
    _card("RTX 4060 Ti", "ada", 16, 37, 288),
    _card("RTX 5070", "blackwell", 12, 52, 672),
    _card("RTX 4070", "ada", 12, 49, 504),
    _card("RTX 3060", "ampere", 12, 21, 360),
    _card("RTX 3080", "ampere", 10, 50, 760),
    _card("RTX 4060", "ada", 8, 25, 272),
    _card("RTX 3070", "ampere", 8, 34, 448),
)
# A card before Ampere. It has no bfloat16 units, so it calculates in float32.
_OLDER = _card("an older card", "older", 8, 10, 300)
# The card that a bare amount of memory stands for, from the largest: the most common one.
_TYPICAL = ("H100", "L40S", "RTX 5090", "RTX 4090", "RTX 4080", "RTX 4070", "RTX 4060")


def find_card(name: str) -> Card | None:
    """The common card whose name is in a name such as `NVIDIA GeForce RTX 4090 Laptop GPU`; the longest one wins."""
    spoken = _letters(name)
    found = [card for card in COMMON_CARDS if _letters(card.name) in spoken]
    return max(found, key=lambda card: len(card.name), default=None)


def typical_card(memory: int) -> Card:
    """The common card that has this much memory or a little more, with exactly this memory."""
    cards = [card for name in _TYPICAL if (card := find_card(name))]
    nearest = min((card for card in cards if card.memory >= memory), key=lambda card: card.memory, default=cards[0])
    return replace(nearest, memory=memory)


def make_card(name: str, memory: int, capability: tuple[int, int] | None) -> Card:
    """A card by the name, the memory and the compute capability that its driver tells.

    An unknown one counts as the slowest common card of its generation.
    """
    known = find_card(name)
    if known is None:
        major, minor = capability or (0, 0)
        generation: Generation = "ada" if (major, minor) == (8, 9) else _CAPABILITIES.get(major, "older")
        alike = [card for card in COMMON_CARDS if card.generation == generation]
        known = min(alike, key=lambda card: card.flops, default=_OLDER)
    return replace(known, name=name, memory=memory)


def _letters(name: str) -> str:
    return "".join(name.lower().split())
