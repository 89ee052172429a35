"""The report: one self-contained HTML file, and its plots as PNG files beside it.

Knows groups and where their images are; knows not how they were measured.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.step_caches.reports import cells
from benchmarks.step_caches.reports.plots import front_figure, option_figure, timeline_figure
from benchmarks.step_caches.reports.recommend import pareto_front
from benchmarks.step_caches.reports.summary import Group, Row
from benchmarks.step_caches.results import Measurement
from benchmarks.step_caches.runner import image_path

THUMBNAIL_SIDE = 256  # pixels
_DPI = 110
_TEMPLATES = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """An image in the page: `source` is a data URI, None when the file is missing."""

    name: str
    source: str | None
    ssim: float
    text: str | None


@dataclass(frozen=True, slots=True)
class ImageRow:
    """The images of one prompt and seed, the uncached one first."""

    prompt: str
    seed: int
    thumbnails: tuple[Thumbnail, ...]


def write_report(groups: Sequence[Group], images: Path, folder: Path) -> Path:
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
    sections = [_section(number, group, images, folder) for number, group in enumerate(groups)]
    page = folder / "report.html"
    page.write_text(environment.get_template("report.html").render(sections=sections), encoding="utf-8")
    return page


def save_front(group: Group, path: Path) -> None:
    """Write the plot of speed and similarity alone, for another page."""
    path.write_bytes(_png(front_figure(group), group))


def _section(number: int, group: Group, images: Path, folder: Path) -> dict[str, object]:
    plots = {}
    suffix = f"-{number + 1}" if number else ""
    figures = {"front": front_figure(group), "timelines": timeline_figure(group), "options": option_figure(group)}
    for name, figure in figures.items():
        if figure is not None:
            data = _png(figure, group)
            (folder / f"{name}{suffix}.png").write_bytes(data)
            plots[name] = _data_uri(data, "png")
    rows = cells.ordered(group.complete)
    dates = [measurement.date for measurement in group.measurements]
    return {
        "group": group,
        "rows": rows,
        "best": [row.name for row in pareto_front(group.complete)],
        "flags": [row for row in rows if row.flag],
        "incomplete": [row for row in group.rows if row not in group.complete],
        "plots": plots,
        "image_rows": _image_rows(group, cells.ordered(group.rows), images),
        "versions": group.measurements[-1].versions,
        "dates": (min(dates), max(dates)),
    }


def _image_rows(group: Group, rows: Sequence[Row], images: Path) -> list[ImageRow]:
    by_prompt: dict[tuple[str, int], list[Measurement]] = {}
    for measurement in group.measurements:
        by_prompt.setdefault((measurement.case.prompt, measurement.case.seed), []).append(measurement)
    position = {(row.kind, row.name): number for number, row in enumerate(rows)}

    def order(measurement: Measurement) -> tuple[bool, int]:
        kind = measurement.case.kind
        return kind != "uncached", position[kind, measurement.name]

    return [
        ImageRow(prompt, seed, tuple(_thumbnail(member, images) for member in sorted(members, key=order)))
        for (prompt, seed), members in by_prompt.items()
    ]


def _thumbnail(measurement: Measurement, images: Path) -> Thumbnail:
    path = image_path(images, measurement.case)
    name = "uncached" if measurement.case.kind == "uncached" else measurement.name
    source = None
    if path.exists():
        with Image.open(path) as image:
            small = image.convert("RGB")
            small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE), Image.Resampling.LANCZOS)
            buffer = io.BytesIO()
            small.save(buffer, "WEBP", quality=85)
            source = _data_uri(buffer.getvalue(), "webp")
    return Thumbnail(name, source, measurement.similarity.ssim, measurement.similarity.text)


def _png(figure: Figure, group: Group) -> bytes:
    """The figure as PNG. Its text chunk `weights` has the fingerprint of the weights that were measured."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None, "weights": str(group.setup.weights)})
    return buffer.getvalue()


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
