"""The variants to measure: cache settings from a TOML file, and what they are compared with.

A cache setting is the wire's `acceleratorOptions`, translated by the server's own code; or, for what the wire does not
offer, a strategy with the fields of a `CachePlan`. Imports no torch.
"""

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from accel.cache.plan import CachePlan
from accel.cache.profile import profile_names
from accel.validation_message import validation_message
from pipelines.catalog.catalog import ModelEntry
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
        return _PLAN.validate_python({"start": start, "end": end, "max_run": _MAX_RUN} | self.fields), ()


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
_PLAN = TypeAdapter(CachePlan)
_PLAN_FIELDS = {field.name for field in fields(CachePlan)}


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
    """The variants at `steps` steps, and a sentence for each setting whose cache stays off there.

    The noise floors and the curve of fewer steps come first, so that an interrupted run has them. `params` finds
    TeaCache's parameters, as for `cache_plan`.
    """
    variants = [
        Variant("uncached", "uncached, once more", "uncached", steps, None, {}),
        Variant("other_kernel", "uncached, other kernel", "uncached", steps, None, {}),
    ]
    shorter = sorted({round(share * steps) for share in FEWER_STEPS_SHARES} - {0, steps}, reverse=True)
    variants += [Variant("fewer_steps", f"{n} steps", "fewer steps", n, None, {"steps": n}) for n in shorter]
    left_out = []
    for setting in settings:
        plan, warnings = setting.plan(entry, steps, direction, params)
        if plan is None:
            left_out.append(f"{setting.name} at {steps} steps: {' '.join(warnings)}")
            continue
        on_wire = setting.wire is not None
        family = next((name for name in CACHES if setting.options.get(name)), plan.strategy)
        variants.append(Variant("cache", setting.name, family, steps, plan, setting.options, on_wire))
    return variants, left_out


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
    if unknown := sorted(row.keys() - _PLAN_FIELDS):
        known = ", ".join(sorted({"acceleratorOptions", "name"} | _PLAN_FIELDS))
        raise SettingsError(f"{where}: there is no '{unknown[0]}'; there are {known}")
    try:
        plan = _PLAN.validate_python({"start": 0, "end": 1, "max_run": 1} | row)
    except ValidationError as error:
        raise SettingsError(f"{where}: {validation_message(error)}") from error
    if plan.profile is not None and plan.profile not in profile_names():
        raise SettingsError(f"{where}.profile: there is no '{plan.profile}'; there are {', '.join(profile_names())}")
    others = {key: value for key, value in row.items() if key != "strategy"}
    return CacheSetting(name or _default_name(row["strategy"], others), None, row)


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
