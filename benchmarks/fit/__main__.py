"""Tries whether the 20B model fits smaller cards, and how fast it is on them.

    python -m benchmarks.fit [--minutes 8] [--only "16 GB" --only fp8] [--device cuda|cpu --tiny] [--out FILE]

Cards of 48, 32, 24, 16 and 12 GB are emulated: torch may allocate no more. What waits in host memory is what the
planner says. Weights are random and made on the card, so nothing is downloaded. Each row compares the latents with
those of resident weights, and its seconds a step too. The most valuable rows come first. Each row's JSON line is
written before the next row starts, so a run that is cut short still counts. `--tiny` tries all of it on small
dimensions, and cannot limit a CPU's memory.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks.fit.bench import Bench
from benchmarks.fit.cards import Case, Precision
from benchmarks.random_models import ModelSize
from benchmarks.runs.budget import Row
from benchmarks.runs.records import installed_version
from benchmarks.runs.row_command import RowCommand

RESULTS = Path(__file__).parents[1] / "results" / "fit.jsonl"
_PRECISIONS: tuple[Precision, ...] = ("fp8", "int8", "nf4")
_TINY_SIDE = 64
# Seconds of a row at full size: weights are moved and pinned, and a few steps are run.
_ROW_SECONDS = 25.0


def rows(bench: Bench) -> list[Row]:
    """All rows, the most valuable first: exact bf16 on the cards that people have, then the other precisions."""
    cards = (24, 16, 12)
    cases = [Case("bf16", None), *(Case("bf16", gib) for gib in cards)]
    cases += [Case("bf16", None, 1), *(Case("bf16", gib, 1) for gib in cards)]
    cases += [Case("bf16", gib) for gib in (32, 48)]
    # Without its library each row of NF4 would build the model and fail.
    precisions: list[Precision] = [each for each in _PRECISIONS if each != "nf4" or installed_version("bitsandbytes")]
    for precision in precisions:
        cases += [Case(precision, gib) for gib in (None, 16, 12, 24)]
        cases += [Case(precision, 16, 1)]
    cases += [Case("bf16", gib, 1) for gib in (32, 48)]
    cases += [Case(precision, gib, 1) for precision in precisions for gib in (24, 12)]
    return [
        Row("copies from pinned memory", bench.measure_link, 2),
        *(Row(case.name, partial(bench.measure, case), _ROW_SECONDS) for case in cases),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    command = RowCommand.parse(
        "fit",
        __doc__,
        sys.argv[1:] if arguments is None else list(arguments),
        steps=5,
        steps_help="steps of each render, at least 2; the first warms up",
        out=RESULTS,
    )
    if command.steps < 2:
        command.refuse("--steps must be at least 2: the first step warms up")
    size = replace(ModelSize.load("small"), side=_TINY_SIDE) if command.tiny else ModelSize.load("full")
    bench = Bench(size, command.device, command.steps)
    command.run(rows(bench), {}, bench.forget)


if __name__ == "__main__":
    main()
