"""Simulates a step cache on recorded traces, at one threshold. Needs no model and imports no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from accel.cache.gate import Gate
from accel.cache.profile import Profile, load_profile, profile_names, read_profile
from accel.cache.report import CacheReport
from accel.calibration.predict import TracedStrategy, predict_decisions
from accel.calibration.traces import LAGS, Header, Trace
from ownware.options import OptionError, whole_number
from pipelines.catalog.profiles import BORROWED
from server.api.runware.schema.objects import AcceleratorOptions
from server.api.runware.translate.caches import cache_window

_STRATEGIES: dict[str, TracedStrategy] = {name: name for name in get_args(TracedStrategy)}


@dataclass(frozen=True, slots=True)
class Simulation:
    """One strategy at one threshold. `start` and `end` are steps; None means the server's default for a task."""

    strategy: TracedStrategy
    threshold: float
    profile: Profile | None
    start: int | None
    end: int | None
    max_run: int

    def run(self, trace: Trace) -> CacheReport:
        """The decisions on the image of a trace."""
        start, end = cache_window(AcceleratorOptions(), trace.steps)
        gate = Gate(
            trace.steps,
            start if self.start is None else self.start,
            end if self.end is None else self.end,
            self.max_run,
        )
        fit = self.profile and self.profile.nearest_fit(trace.steps, guided=trace.guided, area=trace.area)
        decisions = predict_decisions(trace, self.strategy, self.threshold, gate, fit.curve if fit else None)
        return CacheReport(self.strategy, tuple(decisions), 0, 0, 0.0)

    def summary(self, reports: Sequence[CacheReport]) -> str:
        """The reuse over all images, and the speed-up that it allows at most."""
        steps, reused = sum(r.steps for r in reports), sum(r.reused_steps for r in reports)
        forwards, skipped = sum(len(r.decisions) for r in reports), sum(r.reused_forwards for r in reports)
        speedup = forwards / (forwards - skipped) if forwards > skipped else 1.0
        return (
            f"{self.strategy} at {self.threshold:g}: {reused} of {steps} steps reused, {skipped} of {forwards} "
            f"forwards, so denoising is at most {speedup:.2f} times as fast"
        )


def make_simulations(
    strategy: str,
    thresholds: Sequence[float],
    profile: Path | None,
    window: tuple[int | None, int | None],
    max_run: int,
    header: Header,
) -> list[Simulation]:
    """A simulation for each threshold, for traces with this header. Raises `OptionError` or `ProfileError`."""
    if strategy not in _STRATEGIES:
        raise OptionError("--strategy", f"'{strategy}' is none of {', '.join(_STRATEGIES)}")
    whole_number("--max-run", max_run, 1, LAGS)
    found = _find_profile(strategy, profile, header)
    return [Simulation(_STRATEGIES[strategy], threshold, found, *window, max_run) for threshold in thresholds]


def _find_profile(strategy: str, path: Path | None, header: Header) -> Profile | None:
    """TeaCache's profile: the named one, else a shipped one of the trace's model, else a borrowed one."""
    if strategy != "teacache":
        if path is not None:
            raise OptionError("--profile", f"{strategy} has no profile")
        return None
    if path is not None:
        profile = read_profile(path)
        profile.require_recipe(header.recipe, path.stem)
        return profile
    shipped = (load_profile(name) for name in profile_names())
    return next((profile for profile in shipped if profile.recipe == header.recipe), load_profile(BORROWED))
