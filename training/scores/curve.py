"""Scores the snapshots of a training, for the curve of each score over the samples seen.

    python -m training.scores.curve --run build/embedded [--count 12] [--out curve.json]

Snapshots that the file has already are skipped. Knows snapshots; knows no score itself.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from pipelines.catalog.catalog import trained_area
from pipelines.models.loading.loader import load
from training.scores.evaluate import (
    Renderer,
    RenderOptions,
    score_edits,
    score_several,
    score_single,
    score_words,
)
from training.timed.run import CURVE, SNAPSHOTS

_COUNT = 12


def score_snapshots(run: Path, out: Path, count: int) -> list[dict[str, Any]]:
    """Score each whole snapshot of a run that the file lacks, and save after each."""
    points = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else []
    for folder in sorted((run / SNAPSHOTS).glob("[0-9]")):
        samples = json.loads((folder / "training.json").read_text(encoding="utf-8"))["samples"]
        if samples not in [point["samples"] for point in points]:
            points.append({"samples": samples, "scores": _scores(folder, count)})
            out.write_text(json.dumps(points, indent=1) + "\n", encoding="utf-8")
    return points


def _scores(folder: Path, count: int) -> dict[str, dict[str, float]]:
    checkpoint = load(str(folder.resolve()), torch.device("cpu"), torch.float32, with_vision=True)
    renderer, options = Renderer(checkpoint, trained_area(folder)), RenderOptions()
    return {
        "one thing": score_single(renderer, count, options),
        "two things": score_several(renderer, count, options),
        "word": score_words(renderer, count, options),
        "edits": score_edits(renderer, max(1, count // 6), options),
    }


def main() -> None:
    """Score the snapshots of a run."""
    parser = argparse.ArgumentParser(
        prog="python -m training.scores.curve", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--run", type=Path, required=True, help="the folder of a training with --minutes")
    parser.add_argument("--out", type=Path, help="default: curve.json in that folder, which --install takes along")
    parser.add_argument("--count", type=int, default=_COUNT, help="held-out prompts for each score")
    options = parser.parse_args()
    score_snapshots(options.run, options.out or options.run / CURVE, options.count)


if __name__ == "__main__":
    main()
