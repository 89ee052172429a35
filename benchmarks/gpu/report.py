"""The page of what was measured on GPUs, from committed JSON lines only. A figure without a line is said to be missing.

Knows lines; measures nothing.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Line = Mapping[str, Any]

_HEAD = """# Speed on a GPU

Written by `python -m benchmarks.gpu report` from the lines of `benchmarks/results/gpu.jsonl`.
Weights are random, with the dimensions of the 20B model. The text encoder is not measured.
"""
_NOTHING = """
Nothing has been measured yet. `python -m benchmarks.gpu` measures a card in eight minutes.
"""
_RENDERS = ("seconds", "seconds_per_step", "share_of_790", "share_of_ceilings", "peak_gib")
_TITLES = {
    "seconds": "seconds",
    "steps": "steps",
    "seconds_per_step": "seconds a step",
    "share_of_790": "share of 790 TFLOP/s",
    "share_of_ceilings": "share of the ceilings",
    "peak_gib": "peak GiB",
    "computed_step": "computed step",
    "reused_step": "reused step",
    "diffusers_seconds": "diffusers, seconds",
    "ratio": "ours / diffusers",
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


def write_report(lines: Sequence[Line], page: Path) -> None:
    """Write the page of some lines."""
    page.write_text(report(lines), encoding="utf-8")


def report(lines: Sequence[Line]) -> str:
    """The text of the page: for each card its ceilings, its renders, its step caches and its comparisons."""
    if not lines:
        return _HEAD + _NOTHING
    cards = dict.fromkeys(line["card"] for line in lines)
    return _HEAD + "".join(_card(card, [line for line in lines if line["card"] == card]) for card in cards)


def _card(card: str, lines: Sequence[Line]) -> str:
    first = lines[0]
    versions = f"driver {first.get('driver')}, torch {first['torch']}, diffusers {first['diffusers']}"
    parts = [f"\n## {card}\n\n{versions}.\n"]
    if ceilings := next((line for line in lines if "product_per_second" in line), None):
        parts.append(_ceilings(ceilings))
    parts.append(_table("Renders", lines, ("steps", *_RENDERS), lambda line: "seconds_per_step" in line))
    parts.append(_profiles(lines))
    parts.append(_table("Step caches", lines, ("computed_step", "reused_step"), lambda line: "reused_step" in line))
    parts.append(
        _table(
            "Beside diffusers", lines, ("steps", "seconds", "diffusers_seconds", "ratio"), lambda line: "ratio" in line
        )
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


def _profiles(lines: Sequence[Line]) -> str:
    profiles = [line for line in lines if "by_class" in line]
    if not profiles:
        return ""
    classes = dict.fromkeys(name for line in profiles for name in line["by_class"])
    head = "| |" + "".join(f" {line['row']} |" for line in profiles) + "\n|---|" + "---|" * len(profiles) + "\n"
    rows = "".join(
        f"| {name} |" + "".join(f" {_number(line['by_class'].get(name))} |" for line in profiles) + "\n"
        for name in classes
    )
    return f"\n### Seconds by class of kernel\n\n{head}{rows}"


def _table(title: str, lines: Sequence[Line], columns: Sequence[str], belongs: Any) -> str:
    chosen = [line for line in lines if belongs(line)]
    if not chosen:
        return ""
    head = "| |" + "".join(f" {_TITLES[column]} |" for column in columns) + "\n|---|" + "---|" * len(columns) + "\n"
    rows = "".join(
        f"| {line['row']} |" + "".join(f" {_number(line.get(column))} |" for column in columns) + "\n"
        for line in chosen
    )
    return f"\n### {title}\n\n{head}{rows}"


def _number(value: object) -> str:
    return "not measured" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
