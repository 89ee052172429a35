"""What a caching strategy decides, and nothing of how: that is `accel.session`'s."""

from typing import Protocol

import torch

from accel.adapter import Walk


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

    def signal(self, walk: Walk) -> torch.Tensor:
        """What is watched, [1, noise tokens, width], of a walk that stands behind `front` blocks."""
        ...

    def score(self, distance: float, carried: float, sigma: float) -> float:
        """What is held against the threshold; `carried` is the last score if that forward was reused, else 0.

        `distance` is mean|signal − other| / mean|other|, finite and not negative; `sigma` is this forward's.
        """
        ...
