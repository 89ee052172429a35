"""The cells of a report's tables as text, and the order of the rows. Pure."""

from collections.abc import Sequence

from benchmarks.step_caches.reports.summary import Percentiles, Row, Spread
from benchmarks.step_caches.results import PSNR_OF_EQUALS

UNKNOWN = "–"  # not measured


def speedup(spread: Spread | None) -> str:
    """Mean and worst speed-up, as `1.82× (1.60)`."""
    return UNKNOWN if spread is None else f"{spread.mean:.2f}× ({spread.worst:.2f})"


def seconds(percentiles: Percentiles | None) -> tuple[str, str]:
    """Median and 95th percentile."""
    return (UNKNOWN, UNKNOWN) if percentiles is None else (f"{percentiles.p50:.2f}", f"{percentiles.p95:.2f}")


def ssim(spread: Spread) -> str:
    """Mean and worst SSIM."""
    return f"{spread.mean:.3f} ({spread.worst:.3f})"


def psnr(spread: Spread) -> str:
    """Mean and worst PSNR in dB; equal images have none."""
    if spread.worst >= PSNR_OF_EQUALS:
        return "equal"
    return f"{_decibels(spread.mean)} ({_decibels(spread.worst)})"


def flip(spread: Spread | None) -> str:
    """Mean and worst FLIP."""
    return UNKNOWN if spread is None else f"{spread.mean:.3f} ({spread.worst:.3f})"


def reused(row: Row) -> str:
    """Reused steps out of the executed ones."""
    if row.kind != "cache":
        return UNKNOWN
    return f"{row.reused_steps:.1f} of {row.executed}".replace(".0 of", " of")


def ordered(rows: Sequence[Row]) -> list[Row]:
    """Caches and fewer steps together by speed, so that comparable rows are neighbours; the noise floors come last."""
    return sorted(rows, key=lambda row: (row.kind in ("uncached", "other_kernel"), row.speedup.mean))


def _decibels(value: float) -> str:
    return "equal" if value >= PSNR_OF_EQUALS else f"{value:.1f}"
