"""The variants to measure: cache settings from a TOML file, and what they are compared with.

A cache setting is the wire's `acceleratorOptions`, translated by the server's own code; or, for what the wire does not
offer, a strategy with the fields of a `CachePlan`. Imports no torch.
"""

import difflib
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, StrictBool, StrictStr, TypeAdapter, ValidationError

from accel.cache.plan import CacheName, CachePlan
from accel.cache.profile import ProfileError, load_profile, profile_names
from accel.validation_message import validation_message
from pipelines.catalog.catalog import ModelEntry
from pipelines.catalog.profiles import recipe_of
from pipelines.limits import MAX_STEPS
from server.api.runware.schema.objects import AcceleratorOptions
from server.api.runware.translate.caches import CACHES, ParamsFinder, ThresholdDirection, cache_plan, cache_window

DEFAULT = Path(__file__).with_name("settings.toml")
# Two kinds are noise floors. uncached: the baseline once more; other_kernel: with attention added in another order.
Kind = Literal["cache", "fewer_steps", "uncached", "other_kernel"]
OptionValue = bool | int | float | str

# The shares of the steps that the curve of fewer steps is measured at: 8, 10, 12, 14, 16 and 18 of 20.
FEWER_STEPS_SHARES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


class SettingsError(ValueError):
    """The settings cannot be used; the message names the file, the setting and the option."""


@dataclass(frozen=True, slots=True)
class CacheSetting:
    """A cache to measure: `wire` are its options on the wire, or None and `fields` of a plan."""

    name: str
    wire: AcceleratorOptions | None
    fields: dict[str, Any]

    @property
    def options(self) -> dict[str, OptionValue]:
        """The options that the file sets, by the file's names."""
        if self.wire is not None:
            return self.wire.model_dump(exclude_unset=True)
        return dict(self.fields)

    def plan(
        self, entry: ModelEntry, steps: int, direction: ThresholdDirection, params: ParamsFinder | None = None
    ) -> tuple[CachePlan | None, tuple[str, ...]]:
        """The plan for an image of `steps` steps, None when the cache stays off, and the warnings."""
        if self.wire is not None:
            return cache_plan(self.wire, entry, steps, direction, params)
        start, end = cache_window(AcceleratorOptions(), steps)
        plan = _PLAN.validate_python({"start": start, "end": end, "max_run": _MAX_RUN} | self.fields)
        if max(plan.start, 1) >= min(plan.end, steps - 1):
            reason = f"No step from {plan.start} up to {plan.end} can be reused: the first and the last never are."
            return None, (reason,)
        return plan, ()

    def check_profile(self, entry: ModelEntry) -> None:
        """Raise `SettingsError` when the profile was measured on other weights than those of this machine."""
        name, recipe = self.fields.get("profile"), recipe_of(entry)
        if name is not None and recipe is not None:
            try:
                load_profile(name).require_recipe(recipe, name)
            except ProfileError as error:
                raise SettingsError(f"setting '{self.name}': {error}") from error


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to render: `executed` steps, with a cache or without. Variants of one `family` share a curve."""

    kind: Kind
    name: str
    family: str
    executed: int
    plan: CachePlan | None
    options: dict[str, OptionValue]
    on_wire: bool = False


_MAX_RUN = AcceleratorOptions().cacheMaxConsecutiveSteps


@dataclass(frozen=True, slots=True)
class _StrategyRow:
    """The fields of a `CachePlan` that a row may set, in TOML's own types."""

    strategy: CacheName
    threshold: Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
    start: Annotated[int, Field(ge=0, strict=True)] = 0
    end: Annotated[int, Field(ge=1, strict=True)] = MAX_STEPS
    max_run: Annotated[int, Field(ge=1, strict=True)] = 1
    profile: StrictStr | None = None
    extrapolate: StrictBool = False


_PLAN = TypeAdapter(CachePlan)
_ROW = TypeAdapter(_StrategyRow)
_ROW_FIELDS = {field.name for field in fields(_StrategyRow)}
_EXTRAPOLATING = ("fbcache", "dbcache")


@dataclass(frozen=True, slots=True)
class _Document:
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    settings: Annotated[tuple[dict[str, Any], ...], Field(min_length=1)]


_DOCUMENT = TypeAdapter(_Document)


def load_settings(path: Path = DEFAULT) -> tuple[CacheSetting, ...]:
    """The cache settings of a TOML file. Raises `SettingsError`."""
    try:
        rows = _DOCUMENT.validate_python(tomllib.loads(path.read_text(encoding="utf-8"))).settings
    except ValidationError as error:
        raise SettingsError(f"{path}: {validation_message(error)}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    settings = tuple(_setting(row, f"{path}: settings.{number}") for number, row in enumerate(rows))
    names = [setting.name for setting in settings]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise SettingsError(f"{path}: named more than once: {', '.join(repeated)}")
    return settings


def make_variants(
    settings: tuple[CacheSetting, ...],
    entry: ModelEntry,
    steps: int,
    direction: ThresholdDirection,
    params: ParamsFinder | None = None,
) -> tuple[list[Variant], list[str]]:
    """The variants at `steps` steps, and what the user should know: which settings cannot act there, and warnings.

    The noise floors and the curve of fewer steps come first, so that an interrupted run has them. `params` finds
    TeaCache's parameters, as for `cache_plan`. Raises `SettingsError` for a profile of other weights.
    """
    variants = [
        Variant("uncached", "uncached, once more", "uncached", steps, None, {}),
        Variant("other_kernel", "uncached, other kernel", "uncached", steps, None, {}),
    ]
    shorter = sorted({round(share * steps) for share in FEWER_STEPS_SHARES} - {0, steps}, reverse=True)
    variants += [Variant("fewer_steps", f"{n} steps", "fewer steps", n, None, {"steps": n}) for n in shorter]
    notes = []
    names: dict[CachePlan, str] = {}
    for setting in settings:
        setting.check_profile(entry)
        plan, warnings = setting.plan(entry, steps, direction, params)
        where = f"{setting.name} at {steps} steps"
        if plan is None:
            notes.append(f"not measured: {where}: {' '.join(warnings)}")
            continue
        if (same := names.setdefault(plan, setting.name)) != setting.name:
            notes.append(f"not measured: {where}: it does the same as {same}.")
            continue
        notes += [f"{where}: {warning}" for warning in warnings]
        on_wire = setting.wire is not None
        family = next((name for name in CACHES if setting.options.get(name)), plan.strategy)
        variants.append(Variant("cache", setting.name, family, steps, plan, setting.options, on_wire))
    return variants, notes


def _setting(row: dict[str, Any], where: str) -> CacheSetting:
    row = dict(row)
    name = row.pop("name", None)
    if not isinstance(name, str | None):
        raise SettingsError(f"{where}: the name is a text")
    if "acceleratorOptions" in row:
        options = row.pop("acceleratorOptions")
        if row:
            raise SettingsError(f"{where}: '{min(row)}' beside acceleratorOptions")
        try:
            wire = AcceleratorOptions.model_validate(options)
        except ValidationError as error:
            raise SettingsError(f"{where}.acceleratorOptions: {validation_message(error)}") from error
        caches = [cache for cache in CACHES if getattr(wire, cache)]
        if len(caches) != 1:
            raise SettingsError(f"{where}.acceleratorOptions: switch one cache on, not {len(caches)}")
        return CacheSetting(name or _wire_name(wire, caches[0]), wire, {})
    if unknown := sorted(row.keys() - _ROW_FIELDS):
        known = sorted({"acceleratorOptions", "name"} | _ROW_FIELDS)
        near = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"there are {', '.join(known)}"
        raise SettingsError(f"{where}: there is no '{unknown[0]}'; {hint}")
    try:
        plan = _ROW.validate_python(row)
    except ValidationError as error:
        raise SettingsError(f"{where}: {validation_message(error)}") from error
    _check_fields(plan, where)
    others = {key: value for key, value in row.items() if key != "strategy"}
    return CacheSetting(name or _default_name(row["strategy"], others), None, row)


def _check_fields(row: _StrategyRow, where: str) -> None:
    """Raise `SettingsError` for fields that contradict each other, or that the strategy does not read."""
    profiles = ", ".join(profile_names())
    if row.strategy == "teacache" and row.profile is None:
        raise SettingsError(f"{where}: strategy 'teacache' needs a profile; there are {profiles}")
    if row.strategy != "teacache" and row.profile is not None:
        raise SettingsError(f"{where}.profile: only strategy 'teacache' reads a profile")
    if row.profile is not None and row.profile not in profile_names():
        raise SettingsError(f"{where}.profile: there is no '{row.profile}'; there are {profiles}")
    if row.extrapolate and row.strategy not in _EXTRAPOLATING:
        raise SettingsError(f"{where}.extrapolate: only {' and '.join(_EXTRAPOLATING)} extrapolate")
    if row.start >= row.end:
        raise SettingsError(f"{where}: start {row.start} is not before end {row.end}")


def _wire_name(options: AcceleratorOptions, cache: str) -> str:
    chosen = options.model_dump(exclude_unset=True)
    return _default_name(cache, {key: value for key, value in chosen.items() if value is not False and key != cache})


def _default_name(cache: str, options: dict[str, Any]) -> str:
    """A name such as `fbCache 0.25, MaxConsecutiveSteps 2`: the threshold bare, other options without their prefix."""
    parts = [
        f"{value}" if key in ("threshold", f"{cache}Threshold", f"{cache}Distance") else f"{_short(key, cache)} {value}"
        for key, value in options.items()
    ]
    return f"{cache} {', '.join(parts)}" if parts else cache


def _short(key: str, cache: str) -> str:
    return key.removeprefix(cache).removeprefix("cache")
