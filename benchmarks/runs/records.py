"""The JSON lines that benchmarks append to a file and read back. Imports no torch."""

import json
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any


def append_line(path: Path | None, line: dict[str, Any]) -> None:
    """Append a JSON line with the date to a file; None writes nothing."""
    if path is None:
        return
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line | {"date": datetime.now(UTC).isoformat()}) + "\n")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON lines of a file, in their order."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def installed_version(package: str) -> str | None:
    """The version of a package, None when it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
