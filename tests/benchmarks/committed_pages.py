"""Pages with tables, and the commands that write them from committed lines."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.page_tables import replace_between
from tests.sources import ROOT

RELIABILITY = ROOT / "docs/reference/reliability.md"


def rewritten_reliability(
    main: Callable[[], None], results: Path, marks: tuple[str, str], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> str:
    """The page of reliability after a command has written its table into a copy that has an old one."""
    page = folder / "page.md"
    old = replace_between(RELIABILITY.read_text(encoding="utf-8"), *marks, "old")
    page.write_text(old, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["page", "--results", str(results), "--page", str(page)])
    main()
    return page.read_text(encoding="utf-8")
