"""The command line of the benchmarks that run rows on a card within some minutes. Knows no row."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch

from benchmarks.runs.budget import Budget, Row, rows_after, run_rows, select_rows
from benchmarks.runs.environment import environment
from benchmarks.runs.records import append_line
from benchmarks.runs.synchronize import synchronize


@dataclass(frozen=True)
class RowCommand:
    """The options of one run. Its minutes have begun."""

    benchmark: str
    device: torch.device
    tiny: bool
    steps: int
    _arguments: tuple[str, ...]
    _budget: Budget
    _only: tuple[str, ...]
    _after: str | None
    _commit: str | None
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
        parser.add_argument("--after", metavar="ROW", help="only rows behind this one")
        parser.add_argument("--commit", help="of this tree, where git cannot tell it")
        parser.add_argument("--steps", type=int, default=steps, help=steps_help)
        parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
        parser.add_argument("--tiny", action="store_true", help="small dimensions, to try the benchmark anywhere")
        parser.add_argument("--out", type=Path, default=out, help="file to append the JSON lines to")
        options = parser.parse_args(arguments)
        device = torch.device(options.device)
        if device.type != "cuda" and not options.tiny:
            parser.error("the full size needs a CUDA device; --tiny tries the benchmark without one")
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", 0)  # some functions of torch take no device without a number
        return cls(
            benchmark,
            device,
            options.tiny,
            options.steps,
            tuple(arguments),
            Budget(options.minutes),
            tuple(options.only),
            options.after,
            options.commit,
            options.out,
            parser,
        )

    @property
    def continues(self) -> bool:
        """Whether it begins behind a row that was measured before."""
        return self._after is not None

    def refuse(self, message: str) -> NoReturn:
        """End the program with a message about its options."""
        self._parser.error(message)

    def run(self, rows: Sequence[Row], setup: Mapping[str, Any], recover: Callable[[], None]) -> None:
        """Run the chosen rows. Each is printed, and appended to the file with the setup, before the next one starts.

        `recover` frees what a failed row has left behind. Where the device itself has failed, which ends all work of
        the process on it, a new process goes on with the rows behind.
        """
        try:
            chosen = rows_after(select_rows(rows, self._only), self._after)
        except ValueError as error:
            self.refuse(str(error))
        everywhere = {"full_size": not self.tiny, **setup, **environment(self.device)}
        everywhere["commit"] = self._commit or everywhere["commit"]
        with torch.inference_mode():
            for name, figures in run_rows(chosen, self._budget, recover):
                print(f"{name}: {json.dumps(figures)}", flush=True)
                append_line(self._out, {"benchmark": self.benchmark, "row": name, **figures, **everywhere})
                if "failed" in figures and not _works(self.device):
                    self._go_on_after(name)

    def _go_on_after(self, row: str) -> None:
        """Replace this process by one that runs the rows behind this one in the minutes that are left."""
        print("the device has failed: a new process goes on", flush=True)
        rest = ("--minutes", f"{max(0.0, self._budget.left) / 60:.3f}", "--after", row)
        os.execv(sys.executable, [sys.executable, "-m", f"benchmarks.{self.benchmark}", *self._arguments, *rest])


def _works(device: torch.device) -> bool:
    """Whether a device still computes. After some errors CUDA refuses everything in the same process."""
    try:
        torch.ones(1, device=device).add_(1)
        synchronize(device)
    except RuntimeError:
        return False
    return True
