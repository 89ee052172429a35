"""TeaCache's profiles: curves that were measured on a model, and the recipe that identifies what was measured.

Each profile is a TOML file. Built-in profiles are in `profiles/`; a calibration writes its own to the user's folder.
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
# The signal and the target of the fit. Change it with `BlockRunner.modulated_input`, `BlockRunner.block_residual` or
# the distance: profiles of another signal are then refused.
SIGNAL = "modulated input of block 0 to remainder of all blocks, own tokens, mean absolute change, float32; 1"


class ProfileError(ValueError):
    """A profile cannot be used. The message names the file or profile and the fields at fault."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The scope of a profile: the measured weights, schedule and signal.

    `weights` is the fingerprint of the transformer. `schedule` is the fingerprint of the scheduler's configuration.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    weights: str
    schedule: str
    signal: str = SIGNAL

    @property
    def digest(self) -> str:
        """The SHA-256 of all fields."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()

    def differences(self, other: "Recipe") -> list[str]:
        """The names of the fields in which `other` differs."""
        theirs = asdict(other)
        return [name for name, value in asdict(self).items() if value != theirs[name]]


@dataclass(frozen=True, slots=True)
class Measured:
    """The measurement behind a profile: the number of prompts, the model's mode, and the type of the numbers."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    prompts: int
    mode: str
    dtype: str


@dataclass(frozen=True, slots=True)
class Fit:
    """The curves for one kind of render: its `steps`, guidance on or off, and its area in pixels."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    steps: int
    guided: bool
    area: int
    polynomial: Polynomial | None = None
    table: Table | None = None

    def __post_init__(self) -> None:
        if self.steps < 1 or self.area < 1:
            raise ValueError("steps, area: must be above 0")
        if self.polynomial is None and self.table is None:
            raise ValueError("polynomial, table: one of them is required")

    @property
    def curve(self) -> Curve:
        """The curve that explains more of the variance on held-out prompts. The table wins a tie."""
        if self.table is None or self.polynomial is None:
            return self.table or self.polynomial  # pyright: ignore[reportReturnType]  one is there
        return self.table if (self.table.r2 or 0.0) >= (self.polynomial.r2 or 0.0) else self.polynomial


@dataclass(frozen=True, slots=True)
class Profile:
    """The fits of one model.

    The threshold is `factor` times the wire's teaCacheDistance. `source` says who measured, and what. Borrowed profiles
    were measured by other code and have no recipe. All other profiles have a recipe and its hash. `measured` is None in
    files that are older than it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    format: int
    source: str
    borrowed: bool
    factor: float
    fits: tuple[Fit, ...]
    recipe: Recipe | None = None
    recipe_hash: str | None = None
    measured: Measured | None = None

    def __post_init__(self) -> None:
        if self.format != FORMAT:
            raise ValueError(f"format: {self.format}; only format {FORMAT} can be read")
        if not self.fits:
            raise ValueError("fits: must not be empty")
        if not 0 < self.factor <= 1:
            raise ValueError("factor: must be above 0 and at most 1")
        if self.borrowed != (self.recipe is None):
            raise ValueError("recipe: required for a measured profile, not allowed for a borrowed one")
        if self.recipe is not None and self.recipe_hash != self.recipe.digest:
            raise ValueError("recipe_hash: must be the hash of recipe")

    def nearest_fit(self, steps: int, *, guided: bool = True, area: int | None = None) -> Fit:
        """The fit of the most similar render: first by guidance, then by the ratios of steps and area."""

        def dissimilarity(fit: Fit) -> tuple[bool, float]:
            ratios = abs(math.log(fit.steps / steps)) + (abs(math.log(fit.area / area)) if area else 0.0)
            return fit.guided != guided, ratios

        return min(self.fits, key=dissimilarity)

    def require_recipe(self, recipe: Recipe | None, name: str) -> None:
        """Raises `ProfileError` unless the profile was measured on this recipe. A borrowed profile passes.

        `recipe` is None where the model's weights are not on this machine. `name` is the profile's, for the message.
        """
        if self.recipe is None:
            return
        if recipe is None:
            raise ProfileError(f"profile '{name}': recipe.weights: the model's weights are not on this machine")
        if fields := self.recipe.differences(recipe):
            ours, theirs = asdict(self.recipe), asdict(recipe)
            differences = [
                f"recipe.{field} is {_shorten(ours[field])}, the model's is {_shorten(theirs[field])}"
                for field in fields
            ]
            raise ProfileError(f"profile '{name}' was measured on another model: {'; '.join(differences)}")


_PROFILE = TypeAdapter(Profile)


def read_profile(path: Path) -> Profile:
    """Read a profile from its file. Raises `ProfileError`."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ProfileError(f"{path}: {error}") from error
    try:
        return _PROFILE.validate_python(document)
    except ValidationError as error:
        messages = [": ".join((".".join(map(str, each["loc"])), each["msg"])) for each in error.errors()]
        raise ProfileError(f"{path}: {'; '.join(message.removeprefix(': ') for message in messages)}") from error


@cache
def load_profile(name: str) -> Profile:
    """The built-in profile of this name. Raises `KeyError` when there is none."""
    if name not in profile_names():
        raise KeyError(f"there is no profile '{name}'")
    return read_profile(FOLDER / f"{name}.toml")


def profile_names() -> list[str]:
    """The names of the built-in profiles."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def write_profile(path: Path, profile: Profile) -> None:
    """Write a profile as TOML, which the standard library can only read. Raises `OSError`."""
    recipe = profile.recipe
    lines = [
        f"format = {profile.format}",
        f"source = {_toml_string(profile.source)}",
        f"borrowed = {_toml_bool(profile.borrowed)}",
        f"factor = {profile.factor}",
    ]
    if recipe is not None:
        lines += [f"recipe_hash = {_toml_string(recipe.digest)}", "", "[recipe]"]
        lines += [f"{name} = {_toml_string(value)}" for name, value in asdict(recipe).items()]
    if (measured := profile.measured) is not None:
        lines += ["", "[measured]", f"prompts = {measured.prompts}"]
        lines += [f"mode = {_toml_string(measured.mode)}", f"dtype = {_toml_string(measured.dtype)}"]
    for fit in profile.fits:
        lines += ["", "[[fits]]", f"steps = {fit.steps}", f"guided = {_toml_bool(fit.guided)}", f"area = {fit.area}"]
        for name, curve in (("polynomial", fit.polynomial), ("table", fit.table)):
            if curve is not None:
                lines.append(f"[fits.{name}]")
                lines += [f"{key} = {_toml_number(value)}" for key, value in asdict(curve).items() if value is not None]
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")  # a kill must not leave half a profile: no server starts with one
    unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")
    unfinished.replace(path)


def _toml_string(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)  # a JSON string is also a basic string of TOML


def _toml_bool(value: bool) -> str:
    return "true" if value else "false"


def _toml_number(value: float | tuple[float, ...]) -> str:
    return repr(list(value) if isinstance(value, tuple) else value)


def _shorten(value: str) -> str:
    """The first twelve digits of a SHA-256; any other text in quotation marks."""
    return value[:12] if len(value) == 64 else f"'{value}'"
