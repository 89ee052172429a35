"""Writes the scores into the model card: `python -m training.scores.card`.

Replaces what stands between `<!-- scores -->` and `<!-- /scores -->`. Knows the files; knows no picture.
"""

import json
import re
from pathlib import Path
from typing import Any

from pipelines.catalog.catalog import EMBEDDED_FOLDER
from training.timed.run import CURVE

_BETWEEN = re.compile(r"(?<=<!-- scores -->\n).*?(?=<!-- /scores -->)", re.DOTALL)
_RATIOS = ("mean IoU", "overlap", "overlap without it")
_ON_CURVE = {
    "one thing, shape": ("one thing", "shape"),
    "two things": ("two things", "all attributes"),
    "word": ("word", "word"),
    "edits": ("edits", "followed"),
}


def card_section(scores: dict[str, Any], curve: list[dict[str, Any]]) -> str:
    """Return the fingerprint, the table of scores, and the curve of some of them over the samples seen, if any."""
    lines = [f"Scores of the weights `{scores['weights']}`.", "", "| what | right |", "|---|---|"]
    for row, values in scores.items():
        if row != "weights":
            lines.append(f"| {row} | {', '.join(_value(row, name, value) for name, value in values.items())} |")
    if curve:
        lines += ["", "Of a quarter of the prompts, as the training went on:", ""]
        lines += [f"| samples | {' | '.join(_ON_CURVE)} |", "|---" * (1 + len(_ON_CURVE)) + "|"]
        for point in sorted(curve, key=lambda point: point["samples"]):
            shown = (f"{100 * point['scores'][row][name]:.0f} %" for row, name in _ON_CURVE.values())
            lines.append(f"| {point['samples']:,} | {' | '.join(shown)} |")
    return "\n".join((*lines, ""))


def write_card(folder: Path) -> None:
    """Replace the scores in the card of a folder. Raises `ValueError` if the card has no place for them."""
    card = folder / "MODEL_CARD.md"
    text = card.read_text(encoding="utf-8")
    if not _BETWEEN.search(text):
        raise ValueError(f"{card} has no <!-- scores --> and <!-- /scores -->")
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
    points = folder / CURVE
    curve = json.loads(points.read_text(encoding="utf-8")) if points.is_file() else []
    section = card_section(scores, curve)
    card.write_text(_BETWEEN.sub(lambda _: section, text), encoding="utf-8")


def _value(row: str, name: str, value: float) -> str:
    if row.endswith("dB") or name.endswith("dB"):
        return f"{name.removesuffix(' dB')} {value:g} dB"
    if row == "negative prompt":
        return f"{name} {value:g} times as sharp"
    if name in _RATIOS:
        return f"{name} {value:.2f}"
    return f"{name} {100 * value:.0f} %"


if __name__ == "__main__":
    write_card(EMBEDDED_FOLDER)
