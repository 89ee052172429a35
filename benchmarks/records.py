"""The JSON lines that benchmarks append to a file. Imports no torch."""

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


def installed_version(package: str) -> str | None:
    """The version of a package, None when it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None
