"""Repeats and figures of the chaos tests.

`OWNWARE_CHAOS_SCALE` multiplies the repeats. With 1, all chaos tests together take less than ten minutes.
`OWNWARE_CHAOS_FIGURES` names a file that gets a JSON line for each test.
"""

import os
from pathlib import Path

from benchmarks.runs.records import append_line

SCALE = float(os.environ.get("OWNWARE_CHAOS_SCALE", "1"))


def repeats(usual: int) -> int:
    """How often a test does something."""
    return max(1, round(usual * SCALE))


def record(test: str, **figures: float | list[float]) -> None:
    """Write the figures of a test, if a file is named."""
    path = os.environ.get("OWNWARE_CHAOS_FIGURES")
    append_line(Path(path) if path else None, {"benchmark": "chaos", "test": test, **figures})
