"""The rows as text: numbers with sober digits, a Markdown table, and its place in a page.

Pure; knows no plot.
"""

from collections.abc import Sequence
from pathlib import Path

from benchmarks.step_caches.choice import front
from benchmarks.step_caches.results import PSNR_OF_EQUALS
from benchmarks.step_caches.summary import Group, Row, Spread

BEGIN, END = "<!-- step caches: written by `ownware bench report` -->", "<!-- end of step caches -->"
_HEADINGS = ("setting", "loop", "request", "reused", "SSIM", "PSNR, dB", "FLIP")


class PageError(ValueError):
    """The page has no place for the table."""


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


def markdown(group: Group) -> str:
    """The main table, with what it was measured on."""
    lines = [f"| {' | '.join(_HEADINGS)} |", "|---" * len(_HEADINGS) + "|"]
    best = front(group.whole)
    for row in ordered(group.whole):
        mark = "*" * ((row.kind != "cache") + 2 * (row in best))
        name = f"{mark}{row.name}{mark}"
        cells = (
            name,
            times(row.loop_speedup),
            times(row.request_speedup),
            reused(row),
            ssim(row.ssim),
            psnr(row.psnr),
            f"{row.flip.mean:.3f} ({row.flip.worst:.3f})",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", described(group)])


def described(group: Group) -> str:
    """What was measured, in a sentence or two."""
    place = group.place
    size = f"{place.width} × {place.height} pixels"
    return (
        f"`{place.model}` (weights {(place.weights or 'unknown')[:8]}), {group.steps} steps, {size}, {group.cases} "
        f"pictures a row, {place.dtype} on {place.device}. Mean over the pictures, in brackets the worst; against the "
        f"uncached picture of {group.steps} steps. In bold: no other row is both faster and nearer. The clock strays "
        f"by {100 * group.noise:.0f} %."
    )


def insert(page: Path, text: str) -> None:
    """Put a text between the page's markers. Raises `PageError` where they are not."""
    old = page.read_text(encoding="utf-8")
    start, end = old.find(BEGIN), old.find(END)
    if start < 0 or end < start:
        raise PageError(f"{page}: there is no place for the table: a line {BEGIN}, and below it {END}")
    page.write_text(f"{old[: start + len(BEGIN)]}\n{text}\n{old[end:]}", encoding="utf-8")
