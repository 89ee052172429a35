"""What the commands have in common that compare models of random weights: their options, and a JSON line a figure.

Knows no model and no figure.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from pipelines.models.devices import default_dtype, device_name


@dataclass(frozen=True)
class Command:
    """The options of one run. `out` is the file that lines are appended to."""

    benchmark: str
    device: torch.device
    full_size: bool
    repeats: int
    out: Path | None

    @classmethod
    def parse(cls, benchmark: str, description: str | None) -> "Command":
        """From the command line."""
        parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
        parser.add_argument("--full-size", action="store_true", help="the real models' dimensions; needs a large GPU")
        parser.add_argument("--repeats", type=int, default=7, help="runs of each side")
        parser.add_argument("--out", type=Path, help="file to append the JSON lines to")
        options = parser.parse_args()
        return cls(benchmark, torch.device(options.device), options.full_size, options.repeats, options.out)

    def record(self, figures: dict[str, Any], packages: Sequence[str] = ("torch", "diffusers")) -> None:
        """Append a line: the figures, where they were taken and with which packages, and when."""
        if self.out is None:
            return
        line = {
            "benchmark": self.benchmark,
            **figures,
            "device": device_name(str(self.device)),
            "dtype": str(default_dtype(self.device)).removeprefix("torch."),
            "full_size": self.full_size,
            "versions": {package: installed(package) for package in packages},
            "date": datetime.now(UTC).isoformat(),
        }
        with self.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def installed(package: str) -> str | None:
    """The version of a package, None where it is not there."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
