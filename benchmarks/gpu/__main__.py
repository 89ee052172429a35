"""Measures a GPU with the 20B model's dimensions, and writes the report of what was measured.

    python -m benchmarks.gpu [--minutes 8] [--only fp8 --only diffusers] [--steps 50] [--out FILE]
    python -m benchmarks.gpu report [benchmarks/results/gpu.jsonl]

Weights and prompts are random and made on the card, so nothing is downloaded and speed does not depend on them. The
most valuable rows come first. Each row's JSON line is written before the next row starts, so a run that is cut short
still counts. Rows that no longer fit the minutes are skipped. `--tiny` tries all of it on small dimensions.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.budget import Budget, run_rows, select_rows
from benchmarks.gpu.bench import Bench
from benchmarks.gpu.environment import environment
from benchmarks.gpu.report import load_lines, write_report
from benchmarks.gpu.rows import rows
from benchmarks.random_models import ModelSize
from benchmarks.records import append_line
from pipelines.models.devices import default_dtype

RESULTS = Path(__file__).parents[1] / "results" / "gpu.jsonl"
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "gpu-results.md"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["report"]:
        write_report(load_lines(Path(arguments[1]) if arguments[1:] else RESULTS), PAGE)
        return
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=8, help="rows that no longer fit are skipped")
    parser.add_argument("--only", action="append", default=[], help="only rows with this in their name; repeatable")
    parser.add_argument("--steps", type=int, default=50, help="steps of the long renders")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--tiny", action="store_true", help="small dimensions, to try the benchmark anywhere")
    parser.add_argument("--out", type=Path, default=RESULTS, help="file to append the JSON lines to")
    options = parser.parse_args(arguments)
    device = torch.device(options.device)
    if device.type != "cuda" and not options.tiny:
        parser.error("the full size needs a CUDA device; --tiny tries the benchmark without one")
    budget = Budget(options.minutes)
    bench = Bench(ModelSize.load("small" if options.tiny else "full"), device)
    try:
        chosen = select_rows(rows(bench, options.steps), options.only)
    except ValueError as error:
        parser.error(str(error))
    setup = environment(device)
    size = {"full_size": not options.tiny, "side": bench.size.side, "dtype": str(default_dtype(device))[6:]}
    with torch.inference_mode():
        for name, figures in run_rows(chosen, budget):
            print(f"{name}: {json.dumps(figures)}", flush=True)
            append_line(options.out, {"benchmark": "gpu", "row": name, **figures, **size, **setup})


if __name__ == "__main__":
    main()
