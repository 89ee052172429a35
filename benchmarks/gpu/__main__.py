"""Measures a GPU with the 20B model's dimensions, and writes the report of what was measured.

    python -m benchmarks.gpu [--minutes 8] [--only fp8 --only diffusers] [--steps 50] [--out FILE]
    python -m benchmarks.gpu report [benchmarks/results/gpu.jsonl]
    python -m benchmarks.gpu check NEW_LINES

Weights and prompts are random and made on the card, so nothing is downloaded and speed does not depend on them. The
most valuable rows come first. Each row's JSON line is written before the next row starts, so a run that is cut short
still counts. Rows that no longer fit the minutes are skipped. `--tiny` tries all of it on small dimensions.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gpu.bench import Bench
from benchmarks.gpu.check import TOLERANCE, NothingToCompare, compare_lines
from benchmarks.gpu.compiler_files import compiler_files
from benchmarks.gpu.report import load_lines, write_plots, write_readme, write_report
from benchmarks.gpu.rows import rows
from benchmarks.gpu.waterfall import Line
from benchmarks.random_models import ModelSize
from benchmarks.runs.row_command import RowCommand
from pipelines.models.devices import default_dtype

RESULTS = Path(__file__).parents[1] / "results" / "gpu.jsonl"
FIT = RESULTS.with_name("fit.jsonl")  # of `benchmarks.fit`
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "gpu-results.md"
README = PAGE.parents[2] / "README.md"
COMPILED = README.with_name("build") / "gpu-compiled"
FIGURES = PAGE.parents[1] / "figures"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments[:1] == ["report"]:
        lines = load_lines(Path(arguments[1]) if arguments[1:] else RESULTS)
        write_report(lines, load_lines(FIT), PAGE)
        write_readme(lines, README)
        write_plots(lines, FIGURES)
        return
    if arguments[:1] == ["check"]:
        sys.exit(check(load_lines(RESULTS), load_lines(Path(arguments[1]))))
    command = RowCommand.parse("gpu", __doc__, arguments, steps=50, steps_help="steps of the long renders", out=RESULTS)
    bench = Bench(ModelSize.load("small" if command.tiny else "full"), command.device)
    dtype = str(default_dtype(command.device)).removeprefix("torch.")
    with compiler_files(COMPILED, keep=command.continues):
        command.run(rows(bench, command.steps), {"side": bench.size.side, "dtype": dtype}, bench.recover)


def check(committed: Sequence[Line], new: Sequence[Line]) -> str | int:
    """Print how new lines compare with the committed ones of the same card. Returns the exit status, or its message."""
    try:
        changes = compare_lines(committed, new)
    except NothingToCompare as error:
        return str(error)
    for change in changes:
        print(change)
    lost = sum(change.lost for change in changes)
    return f"{lost} of {len(changes)} rows failed or are slower by more than {TOLERANCE:.0%}" if lost else 0


if __name__ == "__main__":
    main()
