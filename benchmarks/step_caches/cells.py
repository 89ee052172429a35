"""The cells of a report's tables as text, and the order of the rows. Pure."""

from collections.abc import Sequence

from benchmarks.step_caches.results import PSNR_OF_EQUALS
from benchmarks.step_caches.summary import Row, Spread


def times(spread: Spread) -> str:
    """A speed-up with the worst prompt's, as `1.82× (1.60)`."""
    return f"{spread.mean:.2f}× ({spread.worst:.2f})"


def decibels(value: float) -> str:
    """PSNR; equal pictures have none."""
    return "equal" if value >= PSNR_OF_EQUALS else f"{value:.1f}"


def ssim(spread: Spread) -> str:
    """Mean and worst."""
    return f"{spread.mean:.3f} ({spread.worst:.3f})"


def psnr(spread: Spread) -> str:
    """Mean and worst."""
    if spread.worst >= PSNR_OF_EQUALS:
        return "equal"
    return f"{decibels(spread.mean)} ({decibels(spread.worst)})"


def ordered(rows: Sequence[Row]) -> list[Row]:
    """Caches and fewer steps together, by speed, so that like stands beside like; the floors come last."""
    return sorted(rows, key=lambda row: (row.kind in ("uncached", "other_kernel"), row.loop_speedup.mean))


def reused(row: Row) -> str:
    """Steps that were reused of those that were executed."""
    if row.kind != "cache":
        return "–"
    return f"{row.reused_steps:.1f} of {row.executed}".replace(".0 of", " of")
