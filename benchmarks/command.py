"""The command line of the benchmarks on random weights. Knows no model and no figure."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.records import append_line, installed_version
from pipelines.models.devices import default_dtype, device_name


@dataclass(frozen=True)
class Command:
    """The options of one run. `out` is the file that the JSON lines are appended to, None for none."""

    benchmark: str
    device: torch.device
    full_size: bool
    repeats: int
    out: Path | None

    @classmethod
    def parse(cls, benchmark: str, description: str | None) -> "Command":
        """The options from the command line."""
        parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
        parser.add_argument("--full-size", action="store_true", help="the real models' dimensions; needs a large GPU")
        parser.add_argument("--repeats", type=int, default=7, help="runs of each side")
        parser.add_argument("--out", type=Path, help="file to append the JSON lines to")
        options = parser.parse_args()
        return cls(benchmark, torch.device(options.device), options.full_size, options.repeats, options.out)

    @property
    def size(self) -> str:
        """The name of the dimensions in `random_models.toml`."""
        return "full" if self.full_size else "small"

    def record(self, figures: dict[str, Any], packages: Sequence[str] = ("torch", "diffusers")) -> None:
        """Append a line: the figures, the device they were measured on, and the versions of the packages."""
        setup = {
            "device": device_name(str(self.device)),
            "dtype": str(default_dtype(self.device)).removeprefix("torch."),
            "full_size": self.full_size,
            "versions": {package: installed_version(package) for package in packages},
        }
        append_line(self.out, {"benchmark": self.benchmark, **figures, **setup})
