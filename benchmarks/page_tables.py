"""The place of a table in a page: between two marks, so that it can be written anew from lines. Knows no figure."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.runs.records import read_lines

# The page with the table of some lines. Raises `ValueError` for a page without a place for it.
WithTable = Callable[[str, list[dict[str, Any]]], str]


def replace_between(page: str, begin: str, end: str, text: str) -> str:
    """The page with a text on lines of its own between two marks. Raises `ValueError` without them in this order."""
    start, stop = page.find(begin), page.find(end)
    if start < 0 or stop < start:
        raise ValueError(f"the page has no {begin} … {end}")
    return f"{page[: start + len(begin)]}\n{text}\n{page[stop:]}"


def rewrite_page(page: Path, results: Path, with_table: WithTable) -> None:
    """Write the table of a page anew from a file of JSON lines."""
    old = page.read_text(encoding="utf-8")
    page.write_text(with_table(old, read_lines(results)), encoding="utf-8")


def run_rewrite(description: str | None, with_table: WithTable) -> None:
    """The command of a module that writes a table and measures nothing."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True, help="file of JSON lines")
    parser.add_argument("--page", type=Path, required=True, help="page that has the table")
    options = parser.parse_args()
    rewrite_page(options.page, options.results, with_table)
