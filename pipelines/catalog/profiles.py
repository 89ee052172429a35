"""Chooses the TeaCache profile of a model, and refuses a profile that was measured on something else.

Knows the catalogue, the fingerprints of weights, and profiles; imports no torch.
"""

import hashlib
import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from accel.cache.curves import Curve
from accel.cache.plan import CachePlan
from accel.cache.profile import Profile, ProfileError, Recipe, load_profile, profile_names, read_profile
from pipelines.catalog.catalog import EMBEDDED, Catalog, ModelEntry
from pipelines.catalog.fingerprint import part_fingerprint
from pipelines.catalog.hub.cache import local_folder
from pipelines.catalog.weights_fingerprint import component_fingerprint

log = structlog.get_logger()

BORROWED = "qwen_image"
# A profile is valid for areas up to this ratio apart, such as 1024² and 1328² pixels.
AREA_RATIO = 2.0
# Beyond this ratio of steps, the changes from step to step are unlike the measured ones. The profile is used with a
# warning.
STEPS_RATIO = 2.0


@dataclass(frozen=True, slots=True)
class CalibrationKey:
    """The parts of a request that a calibration depends on.

    `area` is that of the rendered image in pixels; `loras` is whether the request has any.
    """

    steps: int
    guided: bool
    area: int
    loras: bool = False


@dataclass(frozen=True, slots=True)
class TeaCacheParams:
    """TeaCache's parameters: a profile's name, its factor from teaCacheDistance to the threshold, and its curve."""

    name: str
    factor: float
    curve: Curve

    def fit(self, plan: CachePlan) -> CachePlan:
        """The plan to run, from one whose threshold is still a distance on the wire's scale."""
        return replace(plan, threshold=self.factor * plan.threshold, profile=self.name, curve=self.curve)


class Profiles:
    """The profiles of a catalogue's models. Those in the user's folder take precedence over the shipped ones."""

    def __init__(self, catalog: Catalog, folder: Path | None = None) -> None:
        """Read the own profile of each model. Raises `ProfileError`, naming file and fields.

        A model's own profile is the one that its row names, else the one that `ownware calibrate` writes to `folder`.
        """
        self._own: dict[str, tuple[str, Profile]] = {}
        self._recipes: dict[Hashable, Recipe] = {}
        self._refused: set[str] = set()
        for entry in catalog.entries:
            if (found := _own_profile(entry, folder)) is not None:
                self._own[entry.air] = found

    def choose(self, entry: ModelEntry, key: CalibrationKey) -> tuple[TeaCacheParams | None, tuple[str, ...]]:
        """The parameters of TeaCache, None when every step has to be computed, and warnings for the sender."""
        warnings: list[str] = []
        for name, profile in self._candidates(entry):
            try:
                profile.require_recipe(self._recipe(entry), name)
                _require_measured(profile, name, key)
            except ProfileError as error:
                warnings.append(f"{error}.")
                self._log_once(entry, str(error))
                continue
            if warnings:
                warnings.append(f"The shipped profile '{name}' is used instead.")
            warnings += _caveats(entry, profile, name, key)
            fit = profile.nearest_fit(key.steps, guided=key.guided, area=key.area)
            return TeaCacheParams(name, profile.factor, fit.curve), tuple(warnings)
        return None, (*warnings, "No profile is valid, so every step is computed.")

    def warn_refused(self, catalog: Catalog) -> None:
        """Log each user profile that its model will refuse. Weights that are not downloaded yet cannot be checked."""
        for entry in catalog.entries:
            if (own := self._own.get(entry.air)) and (recipe := self._recipe(entry)) is not None:
                try:
                    own[1].require_recipe(recipe, own[0])
                except ProfileError as error:
                    self._log_once(entry, str(error))

    def _candidates(self, entry: ModelEntry) -> Iterator[tuple[str, Profile]]:
        if entry.air in self._own:
            yield self._own[entry.air]
        shipped = EMBEDDED if entry.embedded else BORROWED
        yield shipped, load_profile(shipped)

    def _recipe(self, entry: ModelEntry) -> Recipe | None:
        weights = entry.files, entry.loras
        if weights not in self._recipes:  # None is not kept, because weights may be downloaded later
            if (recipe := recipe_of(entry)) is None:
                return None
            self._recipes[weights] = recipe
        return self._recipes[weights]

    def _log_once(self, entry: ModelEntry, reason: str) -> None:
        if reason not in self._refused:
            self._refused.add(reason)
            log.warning("TeaCache profile refused", model=entry.air, reason=reason)


def recipe_of(entry: ModelEntry) -> Recipe | None:
    """The recipe that a profile measured on a model is valid for; None unless its weights are on this machine.

    The LoRAs of its row change the transformer, so they count as its weights.
    """
    files = entry.files
    folder = local_folder(files.weights, files.replaced)
    if folder is None:
        return None
    own, schedule = files.transformer, part_fingerprint(folder, "scheduler")
    transformer = part_fingerprint(folder, "transformer") if own is None else component_fingerprint(own)
    loras = [component_fingerprint(lora.weights) for lora in entry.loras]
    if transformer is None or schedule is None or None in loras:
        return None
    if loras:
        acting = (f"{digest} {lora.weight}" for digest, lora in zip(loras, entry.loras, strict=True))
        transformer = hashlib.sha256("\n".join((transformer, *acting)).encode()).hexdigest()
    return Recipe(transformer, schedule)


def is_near_area(one: int, other: int) -> bool:
    """Whether a profile that was measured at one area in pixels is valid for the other."""
    return 1 / AREA_RATIO <= one / other <= AREA_RATIO


def profile_file(entry: ModelEntry) -> str:
    """The file name of a model's own profile, unless its row names another."""
    return f"{EMBEDDED if entry.embedded else re.sub(r'[^a-z0-9]+', '-', entry.air.lower())}.toml"


def _own_profile(entry: ModelEntry, folder: Path | None) -> tuple[str, Profile] | None:
    if entry.profile is None:
        path = None if folder is None else folder / profile_file(entry)
        return None if path is None or not path.is_file() else (path.stem, read_profile(path))
    name = entry.profile
    if Path(name).name != name:
        raise ProfileError(f"models file: {entry.air}: profile: '{name}' is no name but a path")
    if folder is not None and (path := folder / f"{name}.toml").is_file():
        return name, read_profile(path)
    if name in profile_names():
        return name, load_profile(name)
    raise ProfileError(f"models file: {entry.air}: profile: there is no '{name}.toml' in {folder}")


def _require_measured(profile: Profile, name: str, key: CalibrationKey) -> None:
    """Raises `ProfileError` when a measured profile does not cover such a request."""
    if profile.borrowed:
        return
    fits = [fit for fit in profile.fits if fit.guided == key.guided]
    if not fits:
        state = "on" if key.guided else "off"
        raise ProfileError(f"profile '{name}': fits.guided: none was measured with guidance {state}")
    if not any(is_near_area(fit.area, key.area) for fit in fits):
        areas = ", ".join(str(fit.area) for fit in fits)
        raise ProfileError(f"profile '{name}': fits.area: measured at {areas} pixels, not at {key.area}")


def _caveats(entry: ModelEntry, profile: Profile, name: str, key: CalibrationKey) -> Iterator[str]:
    shipped_mode = "text_to_image" if profile.borrowed or entry.embedded else entry.mode
    mode = shipped_mode if profile.measured is None else profile.measured.mode
    if mode != entry.mode:
        what = "text to image, not on edits" if mode == "text_to_image" else f"{mode}, not on {entry.mode}"
        yield f"The profile '{name}' was measured on {what}."
    steps = sorted({fit.steps for fit in profile.fits})
    if not any(1 / STEPS_RATIO <= count / key.steps <= STEPS_RATIO for count in steps):
        yield f"The profile '{name}' was measured at {', '.join(map(str, steps))} steps, not at {key.steps}."
    if profile.borrowed and not key.guided:
        yield f"The profile '{name}' was measured with guidance on."
    if key.loras or (profile.borrowed and entry.loras):
        yield f"The profile '{name}' was measured without LoRAs."
