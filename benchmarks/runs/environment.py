"""What a line was measured on: the card, its driver, the libraries, and the commit of this repository."""

import subprocess
from pathlib import Path
from typing import Any

import torch

from benchmarks.runs.records import installed_version


def environment(device: torch.device) -> dict[str, Any]:
    """The fields that every line has. `commit` and `driver` are None where they cannot be found out."""
    found = {
        "commit": _output("git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"),
        "torch": torch.__version__,
        "diffusers": installed_version("diffusers"),
    }
    if device.type != "cuda":
        return {"card": "cpu", **found}
    properties = torch.cuda.get_device_properties(device)
    return {
        "card": properties.name,
        "memory_gib": round(properties.total_memory / 2**30, 1),
        "driver": _output(
            "nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", f"--id={device.index or 0}"
        ),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        **found,
    }


def _output(*command: str) -> str | None:
    """The output of a program; None when it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
