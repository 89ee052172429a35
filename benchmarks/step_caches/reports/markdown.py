"""The main table of a report as Markdown, and its place in a page. Only `insert_table` touches a file."""

from pathlib import Path

from benchmarks.page_tables import replace_between
from benchmarks.step_caches.reports import cells
from benchmarks.step_caches.reports.recommend import pareto_front
from benchmarks.step_caches.reports.summary import Group

BEGIN, END = "<!-- step caches: written by `ownware bench report` -->", "<!-- end of step caches -->"
_HEADINGS = ("setting", "loop", "request", "reused", "SSIM", "PSNR, dB", "FLIP")


class PageError(ValueError):
    """The page has no place for the table."""


def table(group: Group) -> str:
    """The weights' fingerprint as a comment, the main table of a group, and a description of what was measured."""
    lines = [f"| {' | '.join(_HEADINGS)} |", "|---" * len(_HEADINGS) + "|"]
    best = pareto_front(group.complete)
    for row in cells.ordered(group.complete):
        emphasis = "*" * ((row.kind != "cache") + 2 * (row in best))
        columns = (
            f"{emphasis}{row.name}{emphasis}",
            cells.speedup(row.loop_speedup),
            cells.speedup(row.request_speedup),
            cells.reused(row),
            cells.ssim(row.ssim),
            cells.psnr(row.psnr),
            cells.flip(row.flip),
        )
        lines.append(f"| {' | '.join(columns)} |")
    return "\n".join([f"<!-- weights: {group.setup.weights} -->", *lines, "", description(group)])


def description(group: Group) -> str:
    """Model, size, device and meaning of the columns, in a few sentences."""
    setup = group.setup
    size = f"{setup.width} × {setup.height} pixels"
    return (
        f"`{setup.model}` (weights {(setup.weights or 'unknown')[:8]}), {group.steps} steps, {size}, {group.cases} "
        f"images a row, {setup.dtype} on {setup.device}. Each value is the mean over the images, with the worst image "
        f"in brackets. Everything is compared with the uncached image of {group.steps} steps. In bold: no other row is "
        f"both faster and more similar. {group.clock}"
    )


def insert_table(page: Path, text: str) -> None:
    """Put a text between the page's markers. Raises `PageError` when they are missing."""
    old = page.read_text(encoding="utf-8")
    try:
        new = replace_between(old, BEGIN, END, text)
    except ValueError as error:
        raise PageError(f"{page}: there is no place for the table: a line {BEGIN}, and below it {END}") from error
    page.write_text(new, encoding="utf-8")
