"""The tables of docs/reference/precisions.md, from committed lines only. Knows lines; measures nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.page_tables import replace_between

Line = Mapping[str, Any]

RESULTS = Path(__file__).parents[1] / "results" / "precisions-cpu.jsonl"
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "precisions.md"
_COMPONENTS = {
    "transformer": "The transformer, beside a text encoder in float32:",
    "text_encoder": "The text encoder, beside a transformer in float32:",
}
_BEGIN, _END = "<!-- begin: measured -->", "<!-- end: measured -->"


def with_tables(page: str, lines: Sequence[Line]) -> str:
    """The page with the tables of some lines, the latest of each precision. Raises `ValueError` without the marks."""
    latest = {(line["component"], line["precision"]): line for line in lines}
    parts = []
    for component, title in _COMPONENTS.items():
        of_component = [line for line in latest.values() if line["component"] == component]
        parts.append(f"{title}\n\n{_pictures(of_component)}" if of_component else f"{title} not measured.")
    layers = [line for line in latest.values() if "layers" in line]
    if layers:
        parts.append(f"The layers of the transformer:\n\n{_layers(layers)}")
    return replace_between(page, _BEGIN, _END, "\n" + "\n\n".join(parts) + "\n")


def _pictures(lines: Sequence[Line]) -> str:
    head = "| precision | PSNR, median | PSNR, least | SSIM, mean |\n|---|---|---|---|"
    rows = (
        f"| `{line['precision']}` | {line['psnr']['median']} dB | {line['psnr']['least']} dB | {line['ssim']['mean']} |"
        for line in lines
    )
    return "\n".join((head, *rows))


def _layers(lines: Sequence[Line]) -> str:
    names = [f"`{line['precision']}`" for line in lines]
    head = f"| layers | {' | '.join(names)} |\n|{'---|' * (len(names) + 1)}"
    rows = (
        f"| `{kind}` | {' | '.join(_errors(line['layers'][kind]) for line in lines)} |" for kind in lines[0]["layers"]
    )
    return "\n".join((head, *rows))


def _errors(found: Mapping[str, Any]) -> str:
    block = found["worst_layer"].split(".")[1]
    return f"{found['median']:.1%}, at most {found['worst']:.1%} in block {block}"
