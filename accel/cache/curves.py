"""How a change of TeaCache's signal says how much the transformer's output will change. Pure numbers: no torch.

Two kinds: a polynomial of the change alone, and a table over sigma. The same change of the signal means several times
as much at high noise as at low noise, which no function of the change alone can know.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict


@dataclass(frozen=True, slots=True)
class Polynomial:
    """Coefficients start with the highest power.

    Beyond `max_distance`, where nothing was measured or the fit is no good, a change counts as infinite; below
    `min_distance`, in proportion. `r2` is the share of the variance explained on prompts that were held out.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    coefficients: tuple[float, ...]
    max_distance: float
    min_distance: float = 0.0
    r2: float | None = None

    def __post_init__(self) -> None:
        _expect(bool(self.coefficients), "coefficients: there are none")
        _expect_finite("coefficients", self.coefficients)
        _expect(0 <= self.min_distance < self.max_distance < math.inf, "max_distance: not above min_distance")

    def rescaled(self, distance: float, sigma: float) -> float:
        """The change of the output that a change of the input foretells, not negative."""
        if distance > self.max_distance:
            return math.inf
        inside = max(distance, self.min_distance)
        value = 0.0
        for coefficient in self.coefficients:
            value = value * inside + coefficient
        return max(0.0, value if inside == distance else value * distance / inside)


@dataclass(frozen=True, slots=True)
class Table:
    """`gains` times the change at `sigmas`, which fall; between two of them in a straight line, outside as at the end.

    A gain and not the change of the output itself, so that shorter and longer steps than those measured count as what
    they are. Beyond `max_distance` a change counts as infinite; `r2` as for a polynomial.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    sigmas: tuple[float, ...]
    gains: tuple[float, ...]
    max_distance: float
    r2: float | None = None

    def __post_init__(self) -> None:
        _expect(len(self.sigmas) == len(self.gains) > 0, "gains: not one for each of sigmas")
        _expect_finite("sigmas", self.sigmas)
        _expect_finite("gains", self.gains)
        falling = all(high > low for high, low in zip(self.sigmas, self.sigmas[1:], strict=False))
        _expect(falling, "sigmas: they do not fall")
        _expect(all(gain >= 0 for gain in self.gains), "gains: one is negative")
        _expect(0 < self.max_distance < math.inf, "max_distance: not above 0")

    def gain(self, sigma: float) -> float:
        """How many times the input's change the output's is at a sigma."""
        after = bisect_left(self.sigmas, -sigma, key=lambda s: -s)
        if after == 0:
            return self.gains[0]
        if after == len(self.sigmas):
            return self.gains[-1]
        high, low = self.sigmas[after - 1], self.sigmas[after]
        share = (high - sigma) / (high - low)
        return self.gains[after - 1] * (1 - share) + self.gains[after] * share

    def rescaled(self, distance: float, sigma: float) -> float:
        """The change of the output that a change of the input foretells, not negative."""
        return math.inf if distance > self.max_distance else self.gain(sigma) * distance


Curve = Polynomial | Table


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _expect_finite(name: str, values: tuple[float, ...]) -> None:
    _expect(all(math.isfinite(value) for value in values), f"{name}: one is not finite")
