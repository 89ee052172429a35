"""TeaCache's profiles: what was measured on one model, and exactly what it was measured on.

One TOML file each: those that come with the code in `profiles/`, those of a calibration wherever its user keeps them.
Pure data; imports no torch.
"""

import hashlib
import json
import math
import tomllib
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from accel.cache.curves import Curve, Polynomial, Table

FOLDER = Path(__file__).with_name("profiles")
FORMAT = 1
# What is measured and what is fitted. Change it with `BlockRunner.modulated_input`, `BlockRunner.block_residual` or the
# distance.
SIGNAL = "modulated input of block 0 to remainder of all blocks, own tokens, mean absolute change, float32; 1"


class ProfileError(ValueError):
    """A file is no profile that can be used; the message names it and the fields at fault."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """What figures are valid for: these weights, this schedule, this signal. Any other and they mean nothing.

    `weights` is the fingerprint of the transformer, `schedule` that of the scheduler's configuration.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    weights: str
    schedule: str
    signal: str = SIGNAL

    @property
    def digest(self) -> str:
        """A SHA-256 of all of it."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def differences(self, other: "Recipe") -> list[str]:
        """The fields in which another one differs."""
        theirs = asdict(other)
        return [name for name, value in asdict(self).items() if value != theirs[name]]


@dataclass(frozen=True, slots=True)
class Fit:
    """The curves of one kind of render: `steps`, guidance on or off, and the drawn area in pixels."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    steps: int
    guided: bool
    area: int
    polynomial: Polynomial | None = None
    table: Table | None = None

    def __post_init__(self) -> None:
        if self.steps < 1 or self.area < 1:
            raise ValueError("steps, area: not above 0")
        if self.polynomial is None and self.table is None:
            raise ValueError("polynomial, table: neither is there")

    @property
    def curve(self) -> Curve:
        """The one that explained more of the variance on held-out prompts; a tie goes to the table."""
        if self.table is None or self.polynomial is None:
            return self.table or self.polynomial  # pyright: ignore[reportReturnType]  one is there
        return self.table if (self.table.r2 or 0.0) >= (self.polynomial.r2 or 0.0) else self.polynomial


@dataclass(frozen=True, slots=True)
class Profile:
    """The fits of one model.

    `factor` takes the wire's teaCacheDistance to the threshold. `source` says who measured, on what. Borrowed profiles
    were not measured with this code and have no recipe; all others do, and its hash.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    format: int
    source: str
    borrowed: bool
    factor: float
    fits: tuple[Fit, ...]
    recipe: Recipe | None = None
    recipe_hash: str | None = None

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise ValueError(f"format: {self.format}; only {FORMAT} can be read")
        if not self.fits:
            raise ValueError("fits: there are none")
        if not 0 < self.factor <= 1:
            raise ValueError("factor: not above 0 and up to 1")
        if self.borrowed != (self.recipe is None):
            raise ValueError("recipe: profiles have one unless they are borrowed")
        if self.recipe is not None and self.recipe_hash != self.recipe.digest:
            raise ValueError("recipe_hash: not that of recipe")

    def fit(self, steps: int, *, guided: bool = True, area: int | None = None) -> Fit:
        """The one that was measured most like this: guidance first, then steps and area, nearest in ratio."""

        def unlike(fit: Fit) -> tuple[bool, float]:
            apart = abs(math.log(fit.steps / steps)) + (abs(math.log(fit.area / area)) if area else 0.0)
            return fit.guided != guided, apart

        return min(self.fits, key=unlike)

    def expect(self, recipe: Recipe | None, name: str) -> None:
        """Raises `ProfileError`, naming the fields, unless it was measured on this recipe. Borrowed ones never know."""
        if self.recipe is None:
            return
        if recipe is None:
            raise ProfileError(f"profile '{name}': recipe.weights: the model's weights are not on this machine")
        if fields := self.recipe.differences(recipe):
            ours, theirs = asdict(self.recipe), asdict(recipe)
            words = [
                f"recipe.{field} is {_short(ours[field])}, the model's {_short(theirs[field])}" for field in fields
            ]
            raise ProfileError(f"profile '{name}' was measured on something else: {'; '.join(words)}")


_PROFILE = TypeAdapter(Profile)


def read_profile(path: Path) -> Profile:
    """A profile from its file. Raises `ProfileError`."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ProfileError(f"{path}: {error}") from error
    try:
        return _PROFILE.validate_python(document)
    except ValidationError as error:
        complaints = [": ".join((".".join(map(str, each["loc"])), each["msg"])) for each in error.errors()]
        raise ProfileError(f"{path}: {'; '.join(complaint.removeprefix(': ') for complaint in complaints)}") from error


@cache
def load_profile(name: str) -> Profile:
    """A profile that comes with the code, by its name. Raises `KeyError` when there is none."""
    if name not in profile_names():
        raise KeyError(f"there is no profile '{name}'")
    return read_profile(FOLDER / f"{name}.toml")


def profile_names() -> list[str]:
    """The profiles that come with the code."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def write_profile(path: Path, profile: Profile) -> None:
    """As TOML, which the standard library reads but does not write. Raises `OSError`."""
    recipe = profile.recipe
    lines = [
        f"format = {profile.format}",
        f"source = {_text(profile.source)}",
        f"borrowed = {_bool(profile.borrowed)}",
        f"factor = {profile.factor}",
    ]
    if recipe is not None:
        lines += [f"recipe_hash = {_text(recipe.digest)}", "", "[recipe]"]
        lines += [f"{name} = {_text(value)}" for name, value in asdict(recipe).items()]
    for fit in profile.fits:
        lines += ["", "[[fits]]", f"steps = {fit.steps}", f"guided = {_bool(fit.guided)}", f"area = {fit.area}"]
        for name, curve in (("polynomial", fit.polynomial), ("table", fit.table)):
            if curve is not None:
                lines.append(f"[fits.{name}]")
                lines += [f"{key} = {_number(value)}" for key, value in asdict(curve).items() if value is not None]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)  # a JSON string is a basic string of TOML


def _bool(value: bool) -> str:
    return "true" if value else "false"


def _number(value: float | tuple[float, ...]) -> str:
    return repr(list(value) if isinstance(value, tuple) else value)


def _short(value: str) -> str:
    return value[:12] if len(value) == 64 else f"'{value}'"
