"""The plots of the report: speed-up against similarity, the decisions of each step, and the effect of each option.

Each public function makes one matplotlib figure of one group. Knows rows and measurements; knows no file.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from benchmarks.step_caches.reports.summary import Group, Row

if TYPE_CHECKING:
    from benchmarks.step_caches.results import Measurement
    from benchmarks.step_caches.variants import OptionValue

# Okabe and Ito's colours: colour-blind readers can tell them apart.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#8c564b")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_GREY = "#e6e6e6"
# The reasons of `accel.cache.report`: reuse is dark, the cache's own decision or timetable light, a rule grey.
_REASONS = {
    "reuse": "#0072b2",
    "threshold": "#f6c36b",
    "timetable": "#fbe3b5",
    "first": "#d9d9d9",
    "last": "#d9d9d9",
    "window": "#ececec",
    "run_cap": "#a9a9a9",
}
_UNEXPECTED = "#d62728"  # controls, shape, not_finite, no_memory: a benchmark expects none of them
_MIN_POINTS = 3  # of a curve


@dataclass(frozen=True, slots=True)
class Curve:
    """Settings of one cache that differ in one option only, sorted by it."""

    family: str
    option: str
    points: tuple[tuple[float, Row], ...]


def front_figure(group: Group) -> Figure:
    """Speed-up against SSIM: the mean over the prompts, and the worst prompt."""
    figure = Figure(figsize=(11, 4.8), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True)
    for axes, statistic in ((left, "mean"), (right, "worst")):
        _plot_front(axes, group, statistic)
    left.legend(fontsize=8, loc="lower left")
    return figure


def timeline_figure(group: Group) -> Figure:
    """Settings × steps: the most common decision over all prompts and branches."""
    rows = [row for row in group.rows if row.kind == "cache"]
    reasons = sorted({d.reason for measurement in group.measurements for d in measurement.decisions})
    figure = Figure(figsize=(min(14, 3.2 + 0.26 * group.steps), 1.1 + 0.26 * max(1, len(rows))), layout="constrained")
    axes = figure.subplots()
    cells = [[_most_common(group.measurements, row, step) for step in range(group.steps)] for row in rows]
    numbers = [[reasons.index(reason) for reason, _ in line] for line in cells]
    if numbers:
        colours = ListedColormap([_REASONS.get(reason, _UNEXPECTED) for reason in reasons])
        axes.imshow(numbers, cmap=colours, vmin=-0.5, vmax=len(reasons) - 0.5, aspect="auto", interpolation="nearest")
    for y, line in enumerate(cells):
        for x, (_, share) in enumerate(line):
            if share < 1:
                axes.text(x, y, f"{100 * share:.0f}", ha="center", va="center", fontsize=6, color="black")
    axes.set_yticks(range(len(rows)), [row.name for row in rows], fontsize=8)
    axes.set_xticks(range(0, group.steps, 2 if group.steps <= 30 else 5))
    axes.set_xlabel("step")
    axes.set_title("the most common decision of each step; its share in percent where the prompts differ", fontsize=9)
    handles = [Patch(facecolor=_REASONS.get(reason, _UNEXPECTED), label=reason) for reason in reasons]
    figure.legend(handles=handles, loc="outside right center", fontsize=8, frameon=False)
    return figure


def option_figure(group: Group) -> Figure | None:
    """Reused steps and SSIM along each option; None when no option has three values."""
    curves = curves_of(group.complete)
    if not curves:
        return None
    figure = Figure(figsize=(3.4 * min(3, len(curves)), 2.9 * -(-len(curves) // 3)), layout="constrained")
    grid = figure.subplots(-(-len(curves) // 3), min(3, len(curves)), squeeze=False).flat
    for axes in grid[len(curves) :]:
        axes.set_axis_off()
    for axes, curve in zip(grid, curves, strict=False):
        values = [value for value, _ in curve.points]
        axes.plot(values, [row.reused_steps for _, row in curve.points], "o-", color=_COLOURS[0], markersize=4)
        axes.set_ylabel("reused steps", color=_COLOURS[0], fontsize=8)
        axes.set_ylim(bottom=0)
        beside = axes.twinx()
        for statistic, style in (("mean", "s-"), ("worst", "s:")):
            similarity = [getattr(row.ssim, statistic) for _, row in curve.points]
            beside.plot(values, similarity, style, color=_COLOURS[1], markersize=3)
        beside.set_ylabel("SSIM: mean –, worst ··", color=_COLOURS[1], fontsize=8)
        axes.set_xlabel(curve.option, fontsize=8)
        axes.set_title(curve.family, fontsize=9)
        axes.tick_params(labelsize=7)
        beside.tick_params(labelsize=7)
    return figure


def curves_of(rows: Sequence[Row]) -> list[Curve]:
    """A curve for each option with at least three values among settings that are otherwise equal."""
    found: dict[tuple[str, str, frozenset[tuple[str, OptionValue]]], list[tuple[float, Row]]] = defaultdict(list)
    for row in rows:
        if row.kind != "cache":
            continue
        for option, value in row.options.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                rest = frozenset((key, other) for key, other in row.options.items() if key != option)
                found[row.family, option, rest].append((value, row))
    return [
        Curve(family, option, tuple(sorted(points, key=lambda point: point[0])))
        for (family, option, _), points in found.items()
        if len(points) >= _MIN_POINTS
    ]


def _plot_front(axes: Axes, group: Group, statistic: str) -> None:
    axes.axvspan(1 - group.noise, 1 + group.noise, color=_GREY, zorder=0)
    floor = group.row("other_kernel")
    if floor is not None:
        lowest = getattr(floor.ssim, statistic)
        axes.axhspan(lowest, 1.0, color=_GREY, zorder=0)
    families: dict[str, list[Row]] = defaultdict(list)
    for row in group.complete:
        if row.kind in ("cache", "fewer_steps"):
            families[row.family].append(row)
    styles = cycle(zip(_COLOURS, _MARKERS, strict=True))
    for family, rows in families.items():
        rows = sorted(rows, key=lambda row: row.speedup.mean)
        x = [row.speedup.mean for row in rows]
        y = [getattr(row.ssim, statistic) for row in rows]
        if family == "fewer steps":
            axes.plot([1.0, *x], [1.0, *y], "k--", marker=".", label=family, linewidth=1, zorder=2)
            for row, a, b in zip(rows, x, y, strict=True):
                axes.annotate(str(row.executed), (a, b), fontsize=7, xytext=(3, 3), textcoords="offset points")
            continue
        colour, marker = next(styles)
        axes.scatter(x, y, color=colour, marker=marker, s=28, label=family, zorder=3)
    axes.set_xlabel(f"speed-up of the {'denoising loop' if group.loop_timed else 'whole request'}")
    axes.set_ylabel("SSIM to the uncached image")
    axes.set_title({"mean": "mean over the prompts", "worst": "worst prompt"}[statistic], fontsize=10)
    axes.grid(color="#eeeeee", zorder=0)
    axes.set_axisbelow(True)


def _most_common(measurements: "Sequence[Measurement]", row: Row, step: int) -> tuple[str, float]:
    """The most common reason of a step, and its share."""
    reasons = Counter(
        decision.reason
        for measurement in measurements
        if measurement.name == row.name and measurement.case.kind == row.kind
        for decision in measurement.decisions
        if decision.step == step
    )
    reason, count = reasons.most_common(1)[0]
    return reason, count / reasons.total()
