"""The command line of the benchmarks on random weights. Knows no model and no figure."""

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.runs.budget import Budget, select_names
from benchmarks.runs.records import append_line, installed_version
from pipelines.models.devices import default_dtype, device_name


@dataclass(frozen=True)
class Command:
    """The options of one run. `out` is the file that the JSON lines are appended to, None for none.

    `only` has parts of names; empty means all. `budget` has begun; None is no limit.
    """

    benchmark: str
    device: torch.device
    full_size: bool
    repeats: int
    out: Path | None
    only: tuple[str, ...] = ()
    budget: Budget | None = None

    @classmethod
    def parse(cls, benchmark: str, description: str | None) -> "Command":
        """The options from the command line."""
        parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
        parser.add_argument("--full-size", action="store_true", help="the real models' dimensions; needs a large GPU")
        parser.add_argument("--repeats", type=int, default=7, help="runs of each side")
        parser.add_argument("--out", type=Path, help="file to append the JSON lines to")
        parser.add_argument("--minutes", type=float, help="parts that no longer fit are skipped; default: no limit")
        parser.add_argument(
            "--only", action="append", default=[], help="only parts with this in their name; repeatable"
        )
        options = parser.parse_args()
        budget = None if options.minutes is None else Budget(options.minutes)
        device, only = torch.device(options.device), tuple(options.only)
        return cls(benchmark, device, options.full_size, options.repeats, options.out, only, budget)

    @property
    def size(self) -> str:
        """The name of the dimensions in `random_models.toml`."""
        return "full" if self.full_size else "small"

    def select(self, names: Sequence[str]) -> Iterator[str]:
        """The names of the parts to measure, one at a time. Ends the program where `only` chooses none.

        A part is skipped, and says so, where less time is left than the longest one before it took.
        """
        try:
            chosen = select_names(names, self.only, "part")
        except ValueError as error:
            raise SystemExit(str(error)) from error
        longest = 0.0
        for name in chosen:
            if self.budget is not None and (left := self.budget.left) < longest:
                print(f"{name}: skipped, {max(left, 0):.0f} s are left", flush=True)
                continue
            started = time.monotonic()
            yield name
            longest = max(longest, time.monotonic() - started)

    def record(self, figures: dict[str, Any], packages: Sequence[str] = ("torch", "diffusers")) -> None:
        """Append a line: the figures, the device they were measured on, and the versions of the packages."""
        setup = {
            "device": device_name(str(self.device)),
            "dtype": str(default_dtype(self.device)).removeprefix("torch."),
            "full_size": self.full_size,
            "versions": {package: installed_version(package) for package in packages},
        }
        append_line(self.out, {"benchmark": self.benchmark, **figures, **setup})
