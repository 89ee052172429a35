"""Writes the figures of the server into a page, from the lines of `python -m benchmarks.server`.

    python -m benchmarks.serving.page --results benchmarks/results/server-cpu.jsonl --page docs/reference/reliability.md

The latest line of each figure counts. Measures nothing itself.
"""

from collections.abc import Iterable
from typing import Any

from benchmarks.page_tables import replace_between, run_rewrite

BEGIN, END = "<!-- server: begin -->", "<!-- server: end -->"
_HEADER = ("| figure | median | 99 % | longest | number |", "|---|---|---|---|---|")
_COLUMNS = ("p50", "p99", "max", "n")


def main() -> None:
    """Write the table."""
    run_rewrite(__doc__, with_table)


def with_table(page: str, lines: Iterable[dict[str, Any]]) -> str:
    """The page with the figures that have percentiles between its two marks. Raises `ValueError` without the marks."""
    latest = {line["figure"]: line for line in lines if line["benchmark"] == "server" and "p99" in line}
    rows = [f"| {figure} | {' | '.join(str(line[column]) for column in _COLUMNS)} |" for figure, line in latest.items()]
    return replace_between(page, BEGIN, END, "\n".join((*_HEADER, *rows)))


if __name__ == "__main__":
    main()
