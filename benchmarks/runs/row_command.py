"""The command line of the benchmarks that run rows on a card within some minutes. Knows no row."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch

from benchmarks.records import append_line
from benchmarks.runs.budget import Budget, Row, run_rows, select_rows
from benchmarks.runs.environment import environment


@dataclass(frozen=True)
class RowCommand:
    """The options of one run. Its minutes have begun."""

    benchmark: str
    device: torch.device
    tiny: bool
    steps: int
    _budget: Budget
    _only: tuple[str, ...]
    _out: Path
    _parser: argparse.ArgumentParser

    @classmethod
    def parse(
        cls,
        benchmark: str,
        description: str | None,
        arguments: Sequence[str],
        *,
        steps: int,
        steps_help: str,
        out: Path,
    ) -> "RowCommand":
        """The options from the command line; `steps` and `out` are defaults. Ends the program for wrong ones."""
        parser = argparse.ArgumentParser(
            prog=f"python -m benchmarks.{benchmark}",
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.add_argument("--minutes", type=float, default=8, help="rows that no longer fit are skipped")
        parser.add_argument("--only", action="append", default=[], help="only rows with this in their name; repeatable")
        parser.add_argument("--steps", type=int, default=steps, help=steps_help)
        parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
        parser.add_argument("--tiny", action="store_true", help="small dimensions, to try the benchmark anywhere")
        parser.add_argument("--out", type=Path, default=out, help="file to append the JSON lines to")
        options = parser.parse_args(arguments)
        device = torch.device(options.device)
        if device.type != "cuda" and not options.tiny:
            parser.error("the full size needs a CUDA device; --tiny tries the benchmark without one")
        budget, only = Budget(options.minutes), tuple(options.only)
        return cls(benchmark, device, options.tiny, options.steps, budget, only, options.out, parser)

    def refuse(self, message: str) -> NoReturn:
        """End the program with a message about its options."""
        self._parser.error(message)

    def run(self, rows: Sequence[Row], setup: Mapping[str, Any]) -> None:
        """Run the chosen rows. Each is printed, and appended to the file with the setup, before the next one starts."""
        try:
            chosen = select_rows(rows, self._only)
        except ValueError as error:
            self.refuse(str(error))
        everywhere = {"full_size": not self.tiny, **setup, **environment(self.device)}
        with torch.inference_mode():
            for name, figures in run_rows(chosen, self._budget):
                print(f"{name}: {json.dumps(figures)}", flush=True)
                append_line(self._out, {"benchmark": self.benchmark, "row": name, **figures, **everywhere})
