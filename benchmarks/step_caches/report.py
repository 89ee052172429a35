"""The report: one HTML file that needs nothing else, and its plots as PNG files beside it.

Knows groups and where their pictures lie; how they were measured is nobody's business here.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.step_caches import cells
from benchmarks.step_caches.plots import front_figure, knob_figure, timeline_figure
from benchmarks.step_caches.recommend import front
from benchmarks.step_caches.results import Result
from benchmarks.step_caches.runner import picture_path
from benchmarks.step_caches.summary import Group, Row

SHOWN_SIDE = 256  # pixels of a picture in the page
_DPI = 110
_TEMPLATES = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Shown:
    """A picture in the page: `source` is a data URI, None where the file is not there."""

    name: str
    source: str | None
    ssim: float
    read: str | None


@dataclass(frozen=True, slots=True)
class Strip:
    """The pictures of one prompt and seed, the uncached one first."""

    prompt: str
    seed: int
    pictures: tuple[Shown, ...]


def write_report(groups: Sequence[Group], pictures: Path, folder: Path) -> Path:
    """Write `report.html` and the plots to a folder. Returns the page's path."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"cells": cells}
    sections = [_section(number, group, pictures, folder) for number, group in enumerate(groups)]
    page = folder / "report.html"
    page.write_text(environment.get_template("report.html").render(sections=sections), encoding="utf-8")
    return page


def save_front(group: Group, path: Path) -> None:
    """The front alone, for another page."""
    path.write_bytes(_png(front_figure(group)))


def _section(number: int, group: Group, pictures: Path, folder: Path) -> dict[str, object]:
    plots = {}
    tail = f"-{number + 1}" if number else ""
    drawn = {"front": front_figure(group), "timelines": timeline_figure(group), "knobs": knob_figure(group)}
    for name, figure in drawn.items():
        if figure is not None:
            data = _png(figure)
            (folder / f"{name}{tail}.png").write_bytes(data)
            plots[name] = _uri(data, "png")
    rows = cells.ordered(group.whole)
    return {
        "group": group,
        "rows": rows,
        "best": [row.name for row in front(group.whole)],
        "flags": [row for row in rows if row.flag],
        "incomplete": [row for row in group.rows if row not in group.whole],
        "plots": plots,
        "strips": _strips(group, cells.ordered(group.rows), pictures),
        "versions": group.results[-1].versions,
        "dates": (min(result.date for result in group.results), max(result.date for result in group.results)),
    }


def _strips(group: Group, rows: Sequence[Row], pictures: Path) -> list[Strip]:
    by_prompt: dict[tuple[str, int], list[Result]] = {}
    for result in group.results:
        by_prompt.setdefault((result.case.prompt, result.case.seed), []).append(result)
    place = {(row.kind, row.name): number for number, row in enumerate(rows)}

    def order(result: Result) -> tuple[bool, int]:
        return result.case.kind != "uncached", place[result.case.kind, result.name]

    return [
        Strip(prompt, seed, tuple(_shown(result, pictures) for result in sorted(results, key=order)))
        for (prompt, seed), results in by_prompt.items()
    ]


def _shown(result: Result, pictures: Path) -> Shown:
    path = picture_path(pictures, result.case)
    name = "uncached" if result.case.kind == "uncached" else result.name
    source = None
    if path.exists():
        with Image.open(path) as picture:
            small = picture.convert("RGB")
            small.thumbnail((SHOWN_SIDE, SHOWN_SIDE), Image.Resampling.LANCZOS)
            buffer = io.BytesIO()
            small.save(buffer, "WEBP", quality=85)
            source = _uri(buffer.getvalue(), "webp")
    return Shown(name, source, result.likeness.ssim, result.likeness.read)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def _uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
