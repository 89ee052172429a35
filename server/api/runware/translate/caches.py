"""`acceleratorOptions` into a `CachePlan`: what each of the wire's twelve options does here.

Pure. Inside, a threshold is always one that allows more reuse the higher it is; which way the wire counts is decided
here and nowhere else.
"""

from collections.abc import Callable, Iterator

from accel.cache.plan import CacheName, CachePlan
from pipelines.catalog.catalog import Catalog, ModelEntry
from pipelines.catalog.profiles import CalibrationKey, Profiles, TeaCacheParams
from server.api.runware.schema.objects import AcceleratorOptions
from server.api.runware.translate.windows import step_window
from server.tasks.options import ThresholdDirection

# by the option that switches each on; the options that only it reads
CACHES: dict[str, CacheName] = {"fbCache": "fbcache", "teaCache": "teacache", "dbCache": "dbcache"}
_OWN = {
    "fbCache": ("fbCacheThreshold",),
    "teaCache": ("teaCacheDistance",),
    "dbCache": ("dbCacheThreshold", "dbCacheSkipInterval"),
}
_WINDOW = ("cacheStartStep", "cacheEndStep", "cacheStartStepPercentage", "cacheEndStepPercentage")

# What TeaCache runs with, None when it cannot, and what the sender should know about it.
ParamsFinder = Callable[[], tuple[TeaCacheParams | None, tuple[str, ...]]]

# Where both readings of a threshold agree: the wire's default, so that it means the same in both.
FIXED_POINT = 0.25
# What 0 means where lower is more reuse: twice the highest threshold that anyone uses on Qwen-Image, or more.
MOST_REUSE = 0.6
# Steps of a shorter schedule lie too far apart for one to stand in for the next.
LEAST_STEPS = 10
# The changes from step to step are largest at both ends of a schedule, on Qwen-Image over its first three transitions
# and its last two at 20 steps (raw data of IonDen/mlx-teacache).
LONG_SCHEDULE = 28
WARM_UP, LONG_WARM_UP = 3, 4


def choose_cache(
    options: AcceleratorOptions, executed: int, direction: ThresholdDirection
) -> tuple[CachePlan | None, tuple[str, ...]]:
    """The cache that a legal task asks for, None for none, and what its sender should know.

    `executed` is how many steps are run, fewer than asked for where a seed image skips some. The threshold of a
    TeaCache plan is still teaCacheDistance: `TeaCacheParams.fit` turns it into the threshold of a model.
    """
    chosen = next((name for name in CACHES if getattr(options, name)), None)
    warnings = list(_ignored(options, chosen))
    if chosen is None:
        return None, tuple(warnings)
    where = f"acceleratorOptions.{chosen}"
    if executed < LEAST_STEPS and not _given(options, _WINDOW):
        reason = f"{executed} steps are run, and below {LEAST_STEPS} they lie too far apart to reuse one another"
        return None, (*warnings, f"{where} is ignored: {reason}. A window, such as cacheStartStep, switches it on.")
    start, end = cache_window(options, executed)
    if max(start, 1) >= min(end, executed - 1):
        reason = f"no step from {start} up to {end} of the {executed} that are run can be reused"
        return None, (*warnings, f"{where} is ignored: {reason}; the first and the last never are.")
    max_run = options.cacheMaxConsecutiveSteps
    if chosen == "teaCache":
        threshold = options.teaCacheDistance
    elif chosen == "dbCache":
        threshold = residual_threshold(options.dbCacheThreshold, direction)
        max_run = min(max_run, options.dbCacheSkipInterval)
    else:
        threshold = residual_threshold(options.fbCacheThreshold, direction)
    return CachePlan(CACHES[chosen], threshold, start, end, max_run), tuple(warnings)


def cache_plan(
    options: AcceleratorOptions,
    entry: ModelEntry,
    executed: int,
    direction: ThresholdDirection,
    figures: ParamsFinder | None = None,
) -> tuple[CachePlan | None, tuple[str, ...]]:
    """The cache of `choose_cache` as it runs on a model.

    `figures` are asked for when TeaCache is chosen; without it, those that come with the code for the model at its own
    guidance.
    """
    plan, warnings = choose_cache(options, executed, direction)
    if plan is None or plan.strategy != "teacache":
        return plan, warnings
    params, said = (figures or _shipped(entry, executed))()
    warnings += tuple(f"acceleratorOptions.teaCache: {sentence}" for sentence in said)
    return None if params is None else params.fit(plan), warnings


def residual_threshold(value: float, direction: ThresholdDirection) -> float:
    """From fbCacheThreshold or dbCacheThreshold, 0 to 1, to one that allows more reuse the higher it is.

    As the API documents it, a lower value reuses more; in the libraries, a higher one does.
    """
    if direction == "library":
        return value
    if value <= FIXED_POINT:
        return MOST_REUSE - (MOST_REUSE - FIXED_POINT) * value / FIXED_POINT
    return FIXED_POINT * (1 - value) / (1 - FIXED_POINT)


def cache_window(options: AcceleratorOptions, executed: int) -> tuple[int, int]:
    """The executed steps start ≤ step < end in which reuse is allowed."""
    warm_up = LONG_WARM_UP if executed >= LONG_SCHEDULE else WARM_UP
    cool_down = 1 if executed > LONG_SCHEDULE else 2
    return step_window(
        executed,
        (options.cacheStartStep, options.cacheEndStep),
        (options.cacheStartStepPercentage, options.cacheEndStepPercentage),
        (warm_up, executed - cool_down),
    )


def _shipped(entry: ModelEntry, steps: int) -> ParamsFinder:
    render = CalibrationKey(steps, entry.true_cfg_scale > 1, entry.native_area or entry.output_area)
    return lambda: Profiles(Catalog(())).choose(entry, render)


def _ignored(options: AcceleratorOptions, chosen: str | None) -> Iterator[str]:
    """What is said of a cache that is not switched on."""
    for cache, names in _OWN.items():
        if cache != chosen:
            for name in _given(options, names):
                yield f"acceleratorOptions.{name} is ignored: {cache} is not switched on."
    if chosen is None:
        for name in _given(options, (*_WINDOW, "cacheMaxConsecutiveSteps")):
            yield f"acceleratorOptions.{name} is ignored: no cache is switched on."


def _given(options: AcceleratorOptions, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if name in options.model_fields_set]
