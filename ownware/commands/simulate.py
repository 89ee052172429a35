"""`ownware bench replay`: what a step cache would decide on recorded renders, at one threshold after the other.

Needs no model and imports no torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import typer

from accel.cache.gate import Gate
from accel.cache.profile import Profile, ProfileError, load_profile, profile_names, read_profile
from accel.cache.report import CacheReport
from accel.calibration.predict import TracedStrategy, predict_decisions
from accel.calibration.traces import LAGS, Header, Trace, TraceError, read_traces
from pipelines.catalog.profiles import BORROWED
from server.api.runware.schema.objects import AcceleratorOptions
from server.api.runware.translate.caches import cache_window

STRATEGIES: dict[str, TracedStrategy] = {name: name for name in get_args(TracedStrategy)}


class ReplayOptionError(ValueError):
    """An option that cannot be used; the message names it."""


@dataclass(frozen=True, slots=True)
class _Wish:
    """One strategy at one threshold; the window's ends are None for those that a task gets by default."""

    strategy: TracedStrategy
    threshold: float
    profile: Profile | None
    window: tuple[int | None, int | None]
    max_run: int

    def report(self, trace: Trace) -> CacheReport:
        """What would be decided on one image."""
        start, end = cache_window(AcceleratorOptions(), trace.steps)
        first, last = self.window
        gate = Gate(trace.steps, start if first is None else first, end if last is None else last, self.max_run)
        fit = self.profile and self.profile.nearest_fit(trace.steps, guided=trace.guided, area=trace.area)
        decisions = predict_decisions(trace, self.strategy, self.threshold, gate, fit.curve if fit else None)
        return CacheReport(self.strategy, tuple(decisions), 0, 0, 0.0)


def trace_replay(
    path: Path,
    strategy: str,
    thresholds: str,
    profile: Path | None,
    window: tuple[int | None, int | None],
    max_run: int,
    *,
    each: bool,
) -> int:
    """Print one line a threshold, and with `each` one an image. Returns the exit status: 0, or 2 when impossible."""
    try:
        header, traces = read_traces(path)
        wishes = _wishes(strategy, thresholds, _profile(strategy, profile, header), window, max_run)
    except (TraceError, ProfileError, ReplayOptionError) as error:
        typer.echo(f"ownware: {error}", err=True)
        return 2
    for wish in wishes:
        reports = [wish.report(trace) for trace in traces]
        typer.echo(_in_words(wish, reports))
        if each:
            for trace, report in zip(traces, reports, strict=True):
                patterns = "  ".join(f"{branch} {pattern}" for branch, pattern in report.patterns.items())
                typer.echo(f"  {patterns}  {trace.prompt}")
    return 0


def _wishes(
    strategy: str, thresholds: str, profile: Profile | None, window: tuple[int | None, int | None], max_run: int
) -> list[_Wish]:
    if strategy not in STRATEGIES:
        raise ReplayOptionError(f"--strategy: '{strategy}' is none of {', '.join(STRATEGIES)}")
    if not 1 <= max_run <= LAGS:
        raise ReplayOptionError(f"--max-run: {max_run}; 1 to {LAGS} are possible")
    try:
        values = [float(value) for value in thresholds.split(",")]
    except ValueError as error:
        raise ReplayOptionError(f"--threshold: '{thresholds}' is no list of numbers such as 0.2,0.3") from error
    return [_Wish(STRATEGIES[strategy], value, profile, window, max_run) for value in values]


def _profile(strategy: str, path: Path | None, header: Header) -> Profile | None:
    """TeaCache's figures: those named, else the ones here that were measured on the trace's model, else borrowed."""
    if strategy != "teacache":
        if path is not None:
            raise ReplayOptionError(f"--profile: {strategy} has no figures")
        return None
    if path is not None:
        profile = read_profile(path)
        profile.require_recipe(header.recipe, path.stem)
        return profile
    shipped = (load_profile(name) for name in profile_names())
    return next((profile for profile in shipped if profile.recipe == header.recipe), load_profile(BORROWED))


def _in_words(wish: _Wish, reports: Sequence[CacheReport]) -> str:
    steps, reused = sum(r.steps for r in reports), sum(r.reused_steps for r in reports)
    forwards, left = sum(len(r.decisions) for r in reports), sum(r.reused_forwards for r in reports)
    faster = forwards / (forwards - left) if forwards > left else 1.0
    return (
        f"{wish.strategy} at {wish.threshold:g}: {reused} of {steps} steps reused, {left} of {forwards} forwards, "
        f"so denoising is at most {faster:.2f} times as fast"
    )
