"""The page of what was measured on GPUs, from committed JSON lines only. A figure without a line is said to be missing.

Knows lines; measures nothing.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.gpu.switches import SWITCHES
from benchmarks.gpu.waterfall import EVERY_KERNEL, Line, bars, plot_waterfall
from benchmarks.page_tables import replace_between

README_BEGIN, README_END = "<!-- gpu -->", "<!-- end -->"
# The README's columns, and the rows of their seconds.
_README = {
    "diffusers": "diffusers",
    "exact": "ours, compiled, tables",
    "every kernel": EVERY_KERNEL,
    "FP8": "ours, fp8, compiled",
    "step cache": "ours, compiled, cached",
    "8 steps, decoded": "ours, 8 steps without guidance, decoded, compiled",
    "512², 20 steps, decoded": "ours, half the side, 20 steps, decoded, compiled",
}
_HEAD = """# Speed on a GPU

Written by `python -m benchmarks.gpu report` from the lines of `benchmarks/results/gpu.jsonl`.
`--vram` is shown from those that `python -m benchmarks.fit` writes.
Weights are random, with the dimensions of the 20B model. A render has random embeddings of a prompt: its seconds are
without the text encoder, which has a table of its own.
"""
_NOTHING = """
Nothing has been measured yet. `python -m benchmarks.gpu` measures the most valuable rows of a card in eight minutes.
`--minutes 30` should be enough for all of them, and `python -m benchmarks.fit` measures `--vram`.
"""
_RENDERS = (
    "seconds",
    "seconds_per_step",
    "share_of_790",
    "share_of_ceilings",
    "peak_gib",
    "latents_relative_difference",
)
_TITLES = {
    "seconds": "seconds",
    "steps": "steps",
    "seconds_per_step": "seconds a step",
    "share_of_790": "share of 790 TFLOP/s",
    "share_of_ceilings": "share of the ceilings",
    "peak_gib": "peak GiB",
    "latents_relative_difference": "relative difference of the latents",
    "first_seconds": "seconds until two steps are done",
    "read_graphs": "graphs read from files",
    "computed_step": "computed step",
    "reused_step": "reused step",
    "decision": "a decision",
    "diffusers_seconds": "diffusers, seconds",
    "ratio": "ours / diffusers",
    "tokens": "tokens",
    "read_gib": "GiB",
    "read_gb_per_second": "GB a second",
    "encoder_gib": "GiB",
    "embeddings_relative_difference": "relative difference of the embeddings",
}


def load_lines(path: Path) -> list[Line]:
    """The full-size lines of a file, the latest of each row and card; empty without the file. Raises `ValueError`."""
    if not path.exists():
        return []
    latest: dict[tuple[str, str], Line] = {}
    for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            line = json.loads(text)
            key = line["card"], line["row"]
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{path}:{number}: this is no line of the benchmark: {error}") from error
        if line["full_size"] and "skipped" not in line:
            latest[key] = line
    return list(latest.values())


def write_report(lines: Sequence[Line], fit: Sequence[Line], page: Path) -> None:
    """Write the page of some lines, and of those of the benchmark of smaller cards."""
    page.write_text(report(lines, fit), encoding="utf-8")


def write_readme(lines: Sequence[Line], readme: Path) -> None:
    """Write the table of a README. Raises `ValueError` for one without its marks."""
    page = readme.read_text(encoding="utf-8")
    readme.write_text(replace_between(page, README_BEGIN, README_END, readme_table(lines)), encoding="utf-8")


def readme_table(lines: Sequence[Line]) -> str:
    """Seconds of each card, or a sentence where none was measured."""
    if not lines:
        return "No GPU has been measured yet."
    found = {
        card: [next((line.get("seconds") for line in of_card if line["row"] == row), None) for row in _README.values()]
        for card, of_card in _by_card(lines).items()
    }
    return _rows(["seconds, 1024², 50 steps", *_README], found)


def write_plots(lines: Sequence[Line], folder: Path) -> list[Path]:
    """Draw the waterfall of each card that has its rows. Returns the files."""
    written = []
    for card, of_card in _by_card(lines).items():
        figure = plot_waterfall(card, of_card)
        if figure is not None:
            figure.savefig(folder / _plot_name(card), dpi=110)
            written.append(folder / _plot_name(card))
    return written


def report(lines: Sequence[Line], fit: Sequence[Line] = ()) -> str:
    """The text of the page: for each card its ceilings, its renders, its step caches and its comparisons.

    `fit` has the lines of smaller cards that the table of switches shows too.
    """
    if not (lines or fit):
        return _HEAD + _NOTHING + _switches([], []).replace("\n### ", "\n## ", 1)
    ours, smaller = _by_card(lines), _by_card(fit)
    return _HEAD + "".join(_card(card, ours.get(card, []), smaller.get(card, [])) for card in ours | smaller)


def _by_card(lines: Sequence[Line]) -> dict[str, list[Line]]:
    found: dict[str, list[Line]] = {}
    for line in lines:
        found.setdefault(line["card"], []).append(line)
    return found


def _plot_name(card: str) -> str:
    return "gpu-" + re.sub(r"[^a-z0-9]+", "-", card.lower()).strip("-") + ".png"


def _card(card: str, lines: Sequence[Line], fit: Sequence[Line]) -> str:
    first = (*lines, *fit)[0]
    versions = f"driver {first.get('driver')}, torch {first['torch']}, diffusers {first['diffusers']}"
    parts = [f"\n## {card}\n\n{versions}.\n"]
    if bars(lines):
        parts.append(f"\n![Seconds of a render, step by step](../figures/{_plot_name(card)})\n")
    if ceilings := next((line for line in lines if "product_per_second" in line), None):
        parts.append(_ceilings(ceilings))
    parts.append(_table("Renders", lines, ("steps", *_RENDERS), lambda line: "seconds_per_step" in line))
    parts.append(_table("Start", lines, ("first_seconds", "read_graphs"), lambda line: "first_seconds" in line))
    parts.append(_switches(lines, fit))
    parts.append(_profiles(lines))
    parts.append(
        _table(
            "Step caches",
            lines,
            ("computed_step", "reused_step", "decision", "peak_gib"),
            lambda line: line["row"].startswith("step cache: ") and "computed_step" in line,
        )
    )
    parts.append(
        _table(
            "Beside diffusers", lines, ("steps", "seconds", "diffusers_seconds", "ratio"), lambda line: "ratio" in line
        )
    )
    columns = ("tokens", "seconds", "encoder_gib", "embeddings_relative_difference")
    parts.append(_table("Text encoder", lines, columns, lambda line: "encoder_gib" in line))
    parts.append(
        _table("Loading", lines, ("seconds", "read_gib", "read_gb_per_second"), lambda line: "read_gib" in line)
    )
    failed = [f"- {line['row']}: {line['failed']}\n" for line in lines if "failed" in line]
    return "".join(parts) + ("\nThese rows failed:\n\n" + "".join(failed) if failed else "")


def _ceilings(line: Line) -> str:
    fp8 = line.get("product_fp8_per_second")
    text = (
        f"\nThe largest product runs at {line['product_per_second'] / 1e12:.0f} TFLOP/s, attention at "
        f"{line['attention_per_second'] / 1e12:.0f} TFLOP/s with {line['attention_kernel']}, and copies from pinned "
        f"host memory at {line['copy_per_second'] / 1e9:.0f} GB/s."
    )
    return text + (f" An FP8 product runs at {fp8 / 1e12:.0f} TFLOP/s.\n" if fp8 else "\n")


def _switches(lines: Sequence[Line], fit: Sequence[Line]) -> str:
    """The gain of each switch. A switch without a line says so."""
    found = {"gpu": {line["row"]: line for line in lines}, "fit": {line["row"]: line for line in fit}}
    rows: dict[str, Sequence[object]] = {}
    for switch in SWITCHES:
        off, on = (found[switch.benchmark].get(row, {}) for row in (switch.off, switch.on))
        figure = "seconds_per_step" if switch.benchmark == "fit" else "seconds"
        seconds = off.get(figure), on.get(figure)
        gain = f"{seconds[0] / seconds[1]:.2f}" if seconds[0] and seconds[1] else None
        rows[switch.name] = switch.exactness, *seconds, gain, _difference(on)
    titles = ("switch", "result", "off, seconds", "on, seconds", "gain", "relative difference")
    return _markdown("Switches", titles, rows)


def _difference(line: Line) -> float | None:
    """How far the latents of a row are from the exact ones, or the embeddings where it has none."""
    return line.get("latents_relative_difference", line.get("embeddings_relative_difference"))


def _profiles(lines: Sequence[Line]) -> str:
    profiles = [line for line in lines if "by_class" in line]
    classes = dict.fromkeys(name for line in profiles for name in line["by_class"])
    rows = {name: [line["by_class"].get(name) for line in profiles] for name in classes}
    return _markdown("Seconds by class of kernel", ["", *(line["row"] for line in profiles)], rows)


def _table(title: str, lines: Sequence[Line], columns: Sequence[str], belongs: Callable[[Line], bool]) -> str:
    rows = {line["row"]: [line.get(column) for column in columns] for line in lines if belongs(line)}
    return _markdown(title, ["", *(_TITLES[column] for column in columns)], rows)


def _markdown(title: str, heads: Sequence[str], rows: Mapping[str, Sequence[object]]) -> str:
    """A table with the name of each row in the first column, which `heads` title too; nothing without rows."""
    if not rows:
        return ""
    return f"\n### {title}\n\n{_rows(heads, rows)}\n"


def _rows(heads: Sequence[str], rows: Mapping[str, Sequence[object]]) -> str:
    head = "|" + "".join(f" {name} |" if name else " |" for name in heads) + "\n|" + "---|" * len(heads)
    lines = (f"| {name} |" + "".join(f" {_number(cell)} |" for cell in cells) for name, cells in rows.items())
    return "\n".join((head, *lines))


def _number(value: object) -> str:
    return "not measured" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
