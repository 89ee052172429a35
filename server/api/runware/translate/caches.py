"""Turns the twelve `acceleratorOptions` into a `CachePlan`.

Pure. A higher threshold of a plan allows more reuse. Only this module knows the direction of the wire's thresholds.
"""

from collections.abc import Callable, Iterator

from accel.cache.plan import CacheName, CachePlan
from pipelines.catalog.catalog import Catalog, ModelEntry
from pipelines.catalog.profiles import CalibrationKey, Profiles, TeaCacheParams
from server.api.runware.schema.objects import AcceleratorOptions
from server.api.runware.translate.windows import step_window
from server.tasks.options import ThresholdDirection
from server.tasks.plain.cache_choice import CacheChoice, default_window

# Each cache by its switch, then the options that only it reads.
CACHES: dict[str, CacheName] = {"fbCache": "fbcache", "teaCache": "teacache", "dbCache": "dbcache"}
_OWN = {
    "fbCache": ("fbCacheThreshold",),
    "teaCache": ("teaCacheDistance",),
    "dbCache": ("dbCacheThreshold", "dbCacheSkipInterval"),
}
_WINDOW = ("cacheStartStep", "cacheEndStep", "cacheStartStepPercentage", "cacheEndStepPercentage")

# Returns the parameters of TeaCache, None if it cannot run, and the warnings for the sender.
ParamsFinder = Callable[[], tuple[TeaCacheParams | None, tuple[str, ...]]]

# Both directions agree here. It is the wire's default, so the default means the same in both.
FIXED_POINT = 0.25
# The threshold of 0 where lower means more reuse: twice the highest value in use for Qwen-Image, or more.
MOST_REUSE = 0.6


def choose_cache(
    options: AcceleratorOptions, executed: int, direction: ThresholdDirection
) -> tuple[CachePlan | None, tuple[str, ...]]:
    """The cache plan of a legal task, None for no cache, and the warnings for the sender.

    `executed` is the number of executed steps. With a seed image there are fewer than asked for. The threshold of a
    TeaCache plan is teaCacheDistance. `TeaCacheParams.fit` turns it into the threshold of a model.
    """
    chosen = next((name for name in CACHES if getattr(options, name)), None)
    warnings = list(_ignored(options, chosen))
    if chosen is None:
        return None, tuple(warnings)
    max_run = options.cacheMaxConsecutiveSteps
    if chosen == "teaCache":
        threshold = options.teaCacheDistance
    elif chosen == "dbCache":
        threshold = residual_threshold(options.dbCacheThreshold, direction)
        max_run = min(max_run, options.dbCacheSkipInterval)
    else:
        threshold = residual_threshold(options.fbCacheThreshold, direction)
    window = cache_window(options, executed) if _given(options, _WINDOW) else None
    choice = CacheChoice(CACHES[chosen], threshold, max_run, window)
    plan, notes = choice.plan(executed, f"acceleratorOptions.{chosen}", "cacheStartStep")
    return plan, (*warnings, *notes)


def cache_plan(
    options: AcceleratorOptions,
    entry: ModelEntry,
    executed: int,
    direction: ThresholdDirection,
    find_params: ParamsFinder | None = None,
) -> tuple[CachePlan | None, tuple[str, ...]]:
    """The plan of `choose_cache` with the TeaCache parameters of a model.

    `find_params` is called when TeaCache is chosen. Without it, the model's built-in profile is used.
    """
    plan, warnings = choose_cache(options, executed, direction)
    if plan is None or plan.strategy != "teacache":
        return plan, warnings
    params, notes = (find_params or _built_in(entry, executed))()
    warnings += tuple(f"acceleratorOptions.teaCache: {sentence}" for sentence in notes)
    return None if params is None else params.fit(plan), warnings


def residual_threshold(value: float, direction: ThresholdDirection) -> float:
    """The threshold of a plan for fbCacheThreshold or dbCacheThreshold, 0 to 1. Higher allows more reuse.

    As the API documents it, a lower value reuses more. In the libraries, a higher one does.
    """
    if direction == "library":
        return value
    if value <= FIXED_POINT:
        return MOST_REUSE - (MOST_REUSE - FIXED_POINT) * value / FIXED_POINT
    return FIXED_POINT * (1 - value) / (1 - FIXED_POINT)


def cache_window(options: AcceleratorOptions, executed: int) -> tuple[int, int]:
    """The executed steps start ≤ step < end in which reuse is allowed."""
    return step_window(
        executed,
        (options.cacheStartStep, options.cacheEndStep),
        (options.cacheStartStepPercentage, options.cacheEndStepPercentage),
        default_window(executed),
    )


def _built_in(entry: ModelEntry, steps: int) -> ParamsFinder:
    render = CalibrationKey(steps, entry.true_cfg_scale > 1, entry.native_area or entry.output_area)
    return lambda: Profiles(Catalog(())).choose(entry, render)


def _ignored(options: AcceleratorOptions, chosen: str | None) -> Iterator[str]:
    """A warning for each option of a cache that is not switched on."""
    for cache, names in _OWN.items():
        if cache != chosen:
            for name in _given(options, names):
                yield f"acceleratorOptions.{name} is ignored: {cache} is not switched on."
    if chosen is None:
        for name in _given(options, (*_WINDOW, "cacheMaxConsecutiveSteps")):
            yield f"acceleratorOptions.{name} is ignored: no cache is switched on."


def _given(options: AcceleratorOptions, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if name in options.model_fields_set]
