"""Measures a GPU with the 20B model's dimensions, and writes the report of what was measured.

    python -m benchmarks.gpu [--minutes 8] [--only fp8 --only diffusers] [--steps 50] [--out FILE]
    python -m benchmarks.gpu report [benchmarks/results/gpu.jsonl]

Weights and prompts are random and made on the card, so nothing is downloaded and speed does not depend on them. The
most valuable rows come first. Each row's JSON line is written before the next row starts, so a run that is cut short
still counts. Rows that no longer fit the minutes are skipped. `--tiny` tries all of it on small dimensions.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.report import load_lines, write_report
from benchmarks.gpu.rows import rows
from benchmarks.random_models import ModelSize
from benchmarks.runs.row_command import RowCommand
from pipelines.models.devices import default_dtype

RESULTS = Path(__file__).parents[1] / "results" / "gpu.jsonl"
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "gpu-results.md"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["report"]:
        write_report(load_lines(Path(arguments[1]) if arguments[1:] else RESULTS), PAGE)
        return
    command = RowCommand.parse("gpu", __doc__, arguments, steps=50, steps_help="steps of the long renders", out=RESULTS)
    bench = Bench(ModelSize.load("small" if command.tiny else "full"), command.device)
    dtype = str(default_dtype(command.device)).removeprefix("torch.")
    command.run(rows(bench, command.steps), {"side": bench.size.side, "dtype": dtype})


if __name__ == "__main__":
    main()
