"""Curves that rescale a change of TeaCache's signal to the change of the residual. Pure numbers: no torch.

There are two kinds: a polynomial of the change alone, and a table of gains over sigma. The same change of the signal
means several times as much at high noise as at low noise. A function of the change alone cannot express that.
"""

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict


@dataclass(frozen=True, slots=True)
class Polynomial:
    """A polynomial of the change. The coefficients start with the highest power.

    Above `max_distance` the result is infinite, because nothing was measured there or the fit is bad. Below
    `min_distance` the result is proportional to the change. `r2` is the explained variance on held-out prompts.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    coefficients: tuple[float, ...]
    max_distance: float
    min_distance: float = 0.0
    r2: float | None = None

    def __post_init__(self) -> None:
        _require(bool(self.coefficients), "coefficients: must not be empty")
        _require_finite("coefficients", self.coefficients)
        bounded = 0 <= self.min_distance < self.max_distance < math.inf
        _require(bounded, "max_distance: must be finite and above min_distance, which must not be negative")

    def rescale(self, distance: float, sigma: float) -> float:
        """The expected change of the residual, not negative, for a change of the signal."""
        if distance > self.max_distance:
            return math.inf
        inside = max(distance, self.min_distance)
        value = 0.0
        for coefficient in self.coefficients:
            value = value * inside + coefficient
        return max(0.0, value if inside == distance else value * distance / inside)


@dataclass(frozen=True, slots=True)
class Table:
    """Factors for the change, the `gains`, at falling `sigmas`. Interpolated linearly, and constant outside.

    A table of gains also serves steps that are shorter or longer than the measured ones. Above `max_distance` the
    result is infinite. `r2` is the explained variance on held-out prompts.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    sigmas: tuple[float, ...]
    gains: tuple[float, ...]
    max_distance: float
    r2: float | None = None

    def __post_init__(self) -> None:
        _require(len(self.sigmas) == len(self.gains) > 0, "gains: must have one value for each of sigmas")
        _require_finite("sigmas", self.sigmas)
        _require_finite("gains", self.gains)
        falling = all(high > low for high, low in zip(self.sigmas, self.sigmas[1:], strict=False))
        _require(falling, "sigmas: must fall")
        _require(all(gain >= 0 for gain in self.gains), "gains: must not be negative")
        _require(0 < self.max_distance < math.inf, "max_distance: must be finite and above 0")

    def gain(self, sigma: float) -> float:
        """The residual's change over the signal's change, at a sigma."""
        after = bisect_left(self.sigmas, -sigma, key=lambda s: -s)
        if after == 0:
            return self.gains[0]
        if after == len(self.sigmas):
            return self.gains[-1]
        high, low = self.sigmas[after - 1], self.sigmas[after]
        share = (high - sigma) / (high - low)
        return self.gains[after - 1] * (1 - share) + self.gains[after] * share

    def rescale(self, distance: float, sigma: float) -> float:
        """The expected change of the residual, not negative, for a change of the signal."""
        return math.inf if distance > self.max_distance else self.gain(sigma) * distance


Curve = Polynomial | Table


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _require_finite(name: str, values: tuple[float, ...]) -> None:
    _require(all(math.isfinite(value) for value in values), f"{name}: all values must be finite")
