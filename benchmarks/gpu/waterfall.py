"""The plot from diffusers' seconds down to the floor, one bar for each step of ours. A bar without a line says so.

Knows lines and matplotlib; measures nothing.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind readers can tell apart.
_OTHERS, _EXACT, _ROUNDED, _LOSSY, _FLOOR = "#8c8c8c", "#0072b2", "#56b4e9", "#e69f00", "#d9d9d9"
EVERY_KERNEL = "ours, compiled, tables, relaxed, fused heads"
# Rows of the same request, from the slowest to what is expected to be the fastest.
BARS: Mapping[str, str] = {
    "diffusers": _OTHERS,
    "ours": _EXACT,
    "ours, compiled": _ROUNDED,
    "ours, compiled, tables": _ROUNDED,
    EVERY_KERNEL: _ROUNDED,
    "ours, fp8, compiled": _LOSSY,
    "ours, compiled, cached": _LOSSY,
    "ours, fp8, compiled, cached": _LOSSY,
}
FLOOR = "floor: bf16 products and attention"

Line = Mapping[str, Any]


def bars(lines: Sequence[Line]) -> dict[str, float | None]:
    """Seconds of the long render by row, None for one without a line, and the floor last. Empty without any of them."""
    measured = {line["row"]: line for line in lines if line["row"] in BARS and "seconds" in line}
    if not measured:
        return {}
    floor = next((line["floor_seconds"] for line in measured.values() if "floor_seconds" in line), None)
    return {row: measured.get(row, {}).get("seconds") for row in BARS} | {FLOOR: floor}


def plot_waterfall(card: str, lines: Sequence[Line]) -> "Figure | None":
    """The figure of one card; None where nothing of it was measured."""
    found = bars(lines)
    if not found:
        return None
    from matplotlib.figure import Figure  # a card is measured without it

    figure = Figure(figsize=(8, 0.6 * len(found) + 1.2), layout="constrained")
    axes = figure.subplots()
    colours = [BARS.get(row, _FLOOR) for row in found]
    seconds = [value or 0.0 for value in found.values()]
    drawn = axes.barh(range(len(found)), seconds, color=colours)
    labels = ["not measured" if value is None else f"{value:.2f} s" for value in found.values()]
    axes.bar_label(drawn, labels=labels, padding=4)
    axes.set_yticks(range(len(found)), labels=list(found))
    axes.invert_yaxis()
    axes.set_xlim(0, max(seconds) * 1.15)
    axes.set_xlabel("seconds")
    axes.set_title(card)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
