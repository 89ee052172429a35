"""The plot from diffusers' seconds down to the floor, one bar for each step of ours. From measured lines only.

Knows lines and matplotlib; measures nothing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers can tell apart.
_OTHERS, _EXACT, _ROUNDED, _LOSSY, _FLOOR = "#8c8c8c", "#0072b2", "#56b4e9", "#e69f00", "#d9d9d9"
# Rows with the same work: the long render. Each bar adds to the one above it.
BARS: Mapping[str, str] = {
    "diffusers": _OTHERS,
    "ours": _EXACT,
    "ours, compiled": _ROUNDED,
    "ours, compiled, relaxed": _ROUNDED,
    "ours, compiled, fused heads": _ROUNDED,
    "ours, fp8": _LOSSY,
    "ours, fp8, compiled": _LOSSY,
}
FLOOR = "floor: bf16 products and attention"

Line = Mapping[str, Any]


def bars(lines: Sequence[Line]) -> dict[str, float]:
    """Seconds of the long render by row, those that were measured, and the floor last. Empty without our own row."""
    seconds = {line["row"]: line["seconds"] for line in lines if line["row"] in BARS and "seconds" in line}
    ours = next((line for line in lines if line["row"] == "ours" and "floor_seconds" in line), None)
    if ours is None:
        return {}
    return {row: seconds[row] for row in BARS if row in seconds} | {FLOOR: ours["floor_seconds"]}


def plot_waterfall(card: str, lines: Sequence[Line]) -> Figure | None:
    """The figure of one card; None where nothing of it was measured."""
    found = bars(lines)
    if not found:
        return None
    figure = Figure(figsize=(8, 0.6 * len(found) + 1.2), layout="constrained")
    axes = figure.subplots()
    colours = [BARS.get(row, _FLOOR) for row in found]
    drawn = axes.barh(range(len(found)), list(found.values()), color=colours)
    axes.bar_label(drawn, fmt="%.2f s", padding=4)
    axes.set_yticks(range(len(found)), labels=list(found))
    axes.invert_yaxis()
    axes.set_xlim(0, max(found.values()) * 1.15)
    axes.set_xlabel("seconds")
    axes.set_title(card)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
