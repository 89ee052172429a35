"""What a caching strategy decides, and nothing of how: that is `accel.cache.session`'s.

Every strategy is a `Strategy`. One that foretells, gauges or has a timetable besides has those methods too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch

from accel.block_runner import BlockRunner


class Strategy(Protocol):
    """A policy: after `front` blocks it takes a signal, and says from its distance whether the rest may be reused.

    The remainder that is cached and reused is what the blocks between the first `front` and the last `back` add;
    those are always run.
    """

    @property
    def front(self) -> int:
        """How many blocks run before the decision."""
        ...

    @property
    def back(self) -> int:
        """How many blocks run after the remainder, reused or not."""
        ...

    @property
    def threshold(self) -> float:
        """A forward is reused when its score is less."""
        ...

    @property
    def shared(self) -> bool:
        """Whether the signal is the same for both branches of guidance, so that one decision holds for both."""
        ...

    @property
    def follows(self) -> bool:
        """Whether a signal is compared with the last one, or with that of the last computed forward."""
        ...

    def signal(self, runner: BlockRunner) -> torch.Tensor:
        """What is watched, […, noise tokens, width], after the runner has run `front` blocks."""
        ...

    def score(self, distance: float, carried: float, sigma: float) -> float:
        """What is held against the threshold; `carried` is the last score if that forward was reused, else 0.

        `distance` is mean|signal − other| / mean|other|, finite and not negative, 0 where none is measured; `sigma` is
        this forward's.
        """
        ...


@dataclass(frozen=True, slots=True)
class Past:
    """A forward that is remembered: its step, the signal then, and what a predictor foretells, as it was then."""

    step: int
    signal: torch.Tensor
    value: torch.Tensor


@runtime_checkable
class Predictor(Protocol):
    """Foretells what stands in for the blocks; without it, the last computed remainder does."""

    @property
    def foretells(self) -> Literal["remainder", "prediction"]:
        """What the blocks add to the image, or the transformer's prediction, for which nothing of it is run."""
        ...

    @property
    def keeps(self) -> int:
        """How many forwards are remembered."""
        ...

    @property
    def chained(self) -> bool:
        """Whether reused forwards are remembered too, with what was foretold for them."""
        ...

    def predict(self, step: int, signal: torch.Tensor, past: Sequence[Past], sigmas: Sequence[float]) -> torch.Tensor:
        """The value of a step from those of the `past`, one or more, the newest last. Makes nobody wait for the device.

        `sigmas` are those of all executed steps and the one that the last of them ends at.
        """
        ...


@runtime_checkable
class Gauge(Protocol):
    """Measures distances in its own way instead of as the relative change of the signal."""

    def change(self, signal: torch.Tensor, last: torch.Tensor, past: Sequence[Past]) -> torch.Tensor | None:
        """The distance from the `last` signal, a number on the device; None where too little is known to tell."""
        ...


@runtime_checkable
class Timetable(Protocol):
    """Knows from the start which steps are computed, so that no distance is measured."""

    def computed(self, sigmas: Sequence[float]) -> frozenset[int]:
        """Those of the executed steps that are, counted from 0; `sigmas` as above."""
        ...


def relative_change(now: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """mean|now − before| / mean|before| in float32, on the device."""
    before, now = before.to(torch.float32), now.to(torch.float32)
    return (now - before).abs().mean() / before.abs().mean()
