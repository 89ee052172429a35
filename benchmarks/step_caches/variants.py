"""How it is drawn: the step caches to measure, and what they are measured against.

A setting is the wire's `acceleratorOptions`, translated by the server's own code, or for what the wire does not offer
a strategy with the fields of a `CachePlan`. Imports no torch.
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
# uncached: the same once more; other_kernel: uncached, but with attention computed in another order
Kind = Literal["cache", "fewer_steps", "uncached", "other_kernel"]
Knob = bool | int | float | str

# The fewer-steps curve, as shares of the steps: 8, 10, 12, 14, 16 and 18 of 20.
FEWER = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


class SettingsError(ValueError):
    """The settings cannot be used; the message names the file, the setting and the option."""


@dataclass(frozen=True, slots=True)
class Setting:
    """A cache to measure. `options` are those of the wire, None for a strategy, which has `fields` of a plan."""

    name: str
    options: AcceleratorOptions | None
    fields: dict[str, Any]

    @property
    def knobs(self) -> dict[str, Knob]:
        """What was chosen, by the names that the file has for it."""
        if self.options is not None:
            return self.options.model_dump(exclude_unset=True)
        return dict(self.fields)

    def plan(
        self, entry: ModelEntry, steps: int, direction: ThresholdDirection, figures: ParamsFinder | None = None
    ) -> tuple[CachePlan | None, tuple[str, ...]]:
        """The plan for a picture of so many steps, None where the cache stays off, and what there is to say of it."""
        if self.options is not None:
            return cache_plan(self.options, entry, steps, direction, figures)
        start, end = cache_window(AcceleratorOptions(), steps)
        return _PLAN.validate_python({"start": start, "end": end, "max_run": _MAX_RUN} | self.fields), ()


@dataclass(frozen=True, slots=True)
class Job:
    """One way of drawing: `executed` steps, with a cache or without. `family` are the jobs that share a curve."""

    kind: Kind
    name: str
    family: str
    executed: int
    plan: CachePlan | None
    knobs: dict[str, Knob]
    on_wire: bool = False


_MAX_RUN = AcceleratorOptions().cacheMaxConsecutiveSteps
_PLAN = TypeAdapter(CachePlan)
_PLAN_FIELDS = {field.name for field in fields(CachePlan)}


@dataclass(frozen=True, slots=True)
class _Document:
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    settings: Annotated[tuple[dict[str, Any], ...], Field(min_length=1)]


_DOCUMENT = TypeAdapter(_Document)


def load_settings(path: Path = DEFAULT) -> tuple[Setting, ...]:
    """The settings of a TOML file. Raises `SettingsError`."""
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


def jobs_of(
    settings: tuple[Setting, ...],
    entry: ModelEntry,
    steps: int,
    direction: ThresholdDirection,
    figures: ParamsFinder | None = None,
) -> tuple[list[Job], list[str]]:
    """Everything to draw at so many steps, and which settings cannot act there and why.

    The curve of fewer steps and the two noise floors come first, so that a run that is cut short has them. `figures`
    are those that TeaCache runs with, as for `cache_plan`.
    """
    jobs = [
        Job("uncached", "uncached, once more", "uncached", steps, None, {}),
        Job("other_kernel", "uncached, other kernel", "uncached", steps, None, {}),
    ]
    shorter = sorted({round(share * steps) for share in FEWER} - {0, steps}, reverse=True)
    jobs += [Job("fewer_steps", f"{n} steps", "fewer steps", n, None, {"steps": n}) for n in shorter]
    left_out = []
    for setting in settings:
        plan, said = setting.plan(entry, steps, direction, figures)
        if plan is None:
            left_out.append(f"{setting.name} at {steps} steps: {' '.join(said)}")
            continue
        on_wire = setting.options is not None
        family = next((name for name in CACHES if setting.knobs.get(name)), plan.strategy)
        jobs.append(Job("cache", setting.name, family, steps, plan, setting.knobs, on_wire))
    return jobs, left_out


def _setting(row: dict[str, Any], where: str) -> Setting:
    row = dict(row)
    name = row.pop("name", None)
    if not isinstance(name, str | None):
        raise SettingsError(f"{where}: the name is a text")
    if "acceleratorOptions" in row:
        options = row.pop("acceleratorOptions")
        if row:
            raise SettingsError(f"{where}: '{min(row)}' beside acceleratorOptions")
        try:
            parsed = AcceleratorOptions.model_validate(options)
        except ValidationError as error:
            raise SettingsError(f"{where}.acceleratorOptions: {validation_message(error)}") from error
        chosen = [cache for cache in CACHES if getattr(parsed, cache)]
        if len(chosen) != 1:
            raise SettingsError(f"{where}.acceleratorOptions: switch one cache on, not {len(chosen)}")
        return Setting(name or _wire_name(parsed, chosen[0]), parsed, {})
    if unknown := sorted(row.keys() - _PLAN_FIELDS):
        known = ", ".join(sorted({"acceleratorOptions", "name"} | _PLAN_FIELDS))
        raise SettingsError(f"{where}: there is no '{unknown[0]}'; there are {known}")
    try:
        plan = _PLAN.validate_python({"start": 0, "end": 1, "max_run": 1} | row)
    except ValidationError as error:
        raise SettingsError(f"{where}: {validation_message(error)}") from error
    if plan.profile is not None and plan.profile not in profile_names():
        raise SettingsError(f"{where}.profile: there is no '{plan.profile}'; there are {', '.join(profile_names())}")
    return Setting(name or _named(row["strategy"], {k: v for k, v in row.items() if k != "strategy"}), None, row)


def _wire_name(options: AcceleratorOptions, cache: str) -> str:
    chosen = options.model_dump(exclude_unset=True)
    return _named(cache, {key: value for key, value in chosen.items() if value is not False and key != cache})


def _named(cache: str, knobs: dict[str, Any]) -> str:
    """As `fbCache 0.25, MaxConsecutiveSteps 2`: what every knob's name begins with is left out."""
    parts = [
        f"{value}" if key in ("threshold", f"{cache}Threshold", f"{cache}Distance") else f"{_short(key, cache)} {value}"
        for key, value in knobs.items()
    ]
    return f"{cache} {', '.join(parts)}" if parts else cache


def _short(key: str, cache: str) -> str:
    return key.removeprefix(cache).removeprefix("cache")
