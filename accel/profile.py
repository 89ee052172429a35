"""TeaCache's profiles: how a change of the modulated input says how much the transformer's output will change.

One TOML file each in `profiles/`, made for one model. Pure data; imports no torch.
"""

import math
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict, TypeAdapter

FOLDER = Path(__file__).with_name("profiles")


@dataclass(frozen=True, slots=True)
class Polynomial:
    """Fitted at `steps` steps; the coefficients start with the highest power.

    Beyond `max_distance`, where nothing was measured or the fit is no good, a change counts as infinite.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    steps: int
    coefficients: tuple[float, ...]
    max_distance: float

    def rescaled(self, distance: float) -> float:
        """The change of the output that a change of the input foretells, not negative."""
        if distance > self.max_distance:
            return math.inf
        value = 0.0
        for coefficient in self.coefficients:
            value = value * distance + coefficient
        return max(0.0, value)


@dataclass(frozen=True, slots=True)
class Profile:
    """The polynomials of one model.

    `factor` takes the wire's teaCacheDistance to the threshold. `source` says who measured, on what; `borrowed`
    profiles were not measured with this code.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    source: str
    borrowed: bool
    factor: float
    polynomials: tuple[Polynomial, ...]

    def polynomial(self, steps: int) -> Polynomial:
        """The one fitted at the number of steps nearest in ratio: the more steps, the smaller each change."""
        return min(self.polynomials, key=lambda fitted: abs(math.log(fitted.steps / steps)))


_PROFILE = TypeAdapter(Profile)


@cache
def load_profile(name: str) -> Profile:
    """A profile by its name. Raises `KeyError` when there is none."""
    if name not in profile_names():
        raise KeyError(f"there is no profile '{name}'")
    return _PROFILE.validate_python(tomllib.loads((FOLDER / f"{name}.toml").read_text(encoding="utf-8")))


def profile_names() -> list[str]:
    """The profiles that there are."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))
