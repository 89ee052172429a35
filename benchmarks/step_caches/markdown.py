"""The main table of a report as Markdown, and its place in a page. Pure but for `insert`; knows no plot."""

from pathlib import Path

from benchmarks.step_caches import cells
from benchmarks.step_caches.recommend import front
from benchmarks.step_caches.summary import Group

BEGIN, END = "<!-- step caches: written by `ownware bench report` -->", "<!-- end of step caches -->"
_HEADINGS = ("setting", "loop", "request", "reused", "SSIM", "PSNR, dB", "FLIP")


class PageError(ValueError):
    """The page has no place for the table."""


def markdown(group: Group) -> str:
    """The main table, with what it was measured on."""
    lines = [f"| {' | '.join(_HEADINGS)} |", "|---" * len(_HEADINGS) + "|"]
    best = front(group.whole)
    for row in cells.ordered(group.whole):
        mark = "*" * ((row.kind != "cache") + 2 * (row in best))
        name = f"{mark}{row.name}{mark}"
        columns = (
            name,
            cells.times(row.loop_speedup),
            cells.times(row.request_speedup),
            cells.reused(row),
            cells.ssim(row.ssim),
            cells.psnr(row.psnr),
            f"{row.flip.mean:.3f} ({row.flip.worst:.3f})",
        )
        lines.append(f"| {' | '.join(columns)} |")
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
